#!/bin/sh
# The work of one host. What it computed is written under its fence; `psql` prints nothing where a newer fence was there.
touch "$STARTED"
while [ ! -e "$WORK_IS_OVER" ]; do sleep 0.1; done
written=$(psql -X -q -A -t -v ON_ERROR_STOP=1 -v key="$SINGLEFLIGHT_KEY" -v fence="$SINGLEFLIGHT_FENCE" \
    -v balance="$BALANCE" -f "$SQL")
if [ -z "$written" ]; then
    echo "refused: $BALANCE under fence $SINGLEFLIGHT_FENCE, as a newer one was there" >"$REFUSED"
    exit 1
fi
echo "wrote $BALANCE under fence $SINGLEFLIGHT_FENCE"
