-- Health of a TrainingJob, ModelVersion or RetrainingPolicy for Argo CD, from the conditions that kstatus reads.
local hs = {status = "Progressing", message = "Waiting for the operator"}
if obj.metadata.deletionTimestamp ~= nil then
  hs.message = "Being deleted"
  return hs
end
local status = obj.status
if status == nil or status.conditions == nil then
  return hs
end
if status.observedGeneration ~= obj.metadata.generation then
  hs.message = "The operator has not seen the latest change yet"
  return hs
end

local conditions = {}
for _, condition in ipairs(status.conditions) do
  conditions[condition.type] = condition
end
local ready, stalled = conditions.Ready, conditions.Stalled

if stalled ~= nil and stalled.status == "True" then
  return {status = "Degraded", message = stalled.message}
end
if ready == nil then
  return hs
end
local message = ready.message
if message == nil or message == "" then
  message = ready.reason
end
if ready.status ~= "True" then
  return {status = "Progressing", message = message}
end
-- Neither waits for the cluster: a person has to resume or approve.
if ready.reason == "Suspended" or ready.reason == "PendingManualApproval" then
  return {status = "Suspended", message = message}
end
return {status = "Healthy", message = message}
