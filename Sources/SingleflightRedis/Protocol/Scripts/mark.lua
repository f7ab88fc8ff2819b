-- `mark(record)`: the record of a lease on which somebody has begun to wait: with a space at its end, which means
-- nothing in JSON. A leader that compares the lease with what it wrote finds out. `keep_mark(record, earlier)`: the
-- record that takes an earlier one's place.
local function mark(record)
  if string.sub(record, -1) == ' ' then return record end
  return record .. ' '
end
local function keep_mark(record, earlier)
  if string.sub(earlier, -1) == ' ' then return mark(record) end
  return record
end
