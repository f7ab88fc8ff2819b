-- A balance that must not go back: each write says under which fence, and an older fence changes nothing.
-- Run by psql with the variables `key`, `fence` and `balance`.
INSERT INTO balances (key, fence, balance) VALUES (:'key', :'fence', :'balance')
ON CONFLICT (key) DO UPDATE
    SET fence = excluded.fence, balance = excluded.balance
    WHERE balances.fence < excluded.fence
RETURNING fence;
