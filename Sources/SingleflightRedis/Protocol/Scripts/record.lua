-- Puts a run in front of the last runs of its key, or counts a skip: docs/protocol.md, "Last runs".
-- KEYS: the runs. ARGV: the run as JSON, or nothing for a skip; how many are kept; how long, in ms.
local text = redis.call('GET', KEYS[1]) or '0'
local skips, rest = text:match('^(%d+)(.*)$')
skips, rest = tonumber(skips) or 0, rest or ''
if ARGV[1] == '' then
  text = string.format('%d', skips + 1) .. rest
else
  local lines = {'0', string.format('%d', skips) .. ' ' .. ARGV[1]}
  for line in rest:gmatch('[^\n]+') do
    if #lines > tonumber(ARGV[2]) then break end
    lines[#lines + 1] = line
  end
  text = table.concat(lines, '\n')
end
redis.call('SET', KEYS[1], text, 'PX', ARGV[3])
return redis.status_reply('OK')
