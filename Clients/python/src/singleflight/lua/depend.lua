local token, line = ARGV[1], ARGV[2]
local r, problem = read()
if problem then return problem end
if not r or r.token ~= token then return {'LOST'} end
local lines = {}
for noted in string.gmatch(r.waits, '[^\n]*\n') do
    if noted ~= line then lines[#lines + 1] = noted end
end
lines[#lines + 1] = line
while #lines > 8 do table.remove(lines, 1) end
r.waits = table.concat(lines)
write(r, left(r) + r.grace)
return {'OK'}
