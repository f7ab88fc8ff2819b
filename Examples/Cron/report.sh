#!/bin/sh
# The job: slow, and to be run once a night however many hosts have it in their crontab.
echo "$HOST_NAME ran it" >>"$RUNS"
sleep 1
echo "3 orders, fence $SINGLEFLIGHT_FENCE"
