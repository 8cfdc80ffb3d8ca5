"""The local node: runs the pods bound to it as processes of this machine."""
