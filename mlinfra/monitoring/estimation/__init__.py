"""How good answers probably are while their labels are not there."""
