/*
 * The protocol of docs/protocol.md for one key: the scripts as atomic steps, and both roles of a process.
 *
 * PROCESSES processes each want the outcome ROUNDS times, and at most LEASES leases are granted. Whatever the world may
 * do happens at any time: a lease runs out, a process crashes, an announcement is lost or overtakes a reply, somebody
 * revokes the lease; and LOSSES times a reply is lost after its script ran, and the request is sent again.
 *
 * A token is the number of its lease: the request that is granted the lease draws it. What is checked:
 *   - a token has one outcome, for its leader and for whoever follows it (I3, I4, I5, I6);
 *   - the store accepts a result only from the token that leads (I9);
 *   - an outcome that somebody waits for is there when he asks, whatever he missed (I7);
 *   - a lease that is taken back before anything ran ends no flight for those who wait: they enter again (I28);
 *   - a lease that is deleted by comparison, without the script, has nobody who waits.
 *
 * The variants must fail: -DLOCAL_CANCEL (followers cancel when their own timer says so), -DRENEW_EXPIRED (a lease that
 * ran out is prolonged, and followers cancel by a timer that is never early), -DANNOUNCE_ONLY, -DNO_TOKEN_CHECK,
 * -DNO_MARK (who begins to wait leaves the lease's record as it is).
 * -DTAKEOVER checks the policy under which a waiter takes over; without it a lost leader's flight is canceled.
 */

#ifndef PROCESSES
#define PROCESSES 3
#endif
#ifndef LEASES
#define LEASES 3
#endif
#ifndef ROUNDS
#define ROUNDS 1
#endif
#ifndef LOSSES
#define LOSSES 2
#endif

#define NONE 0

/* Outcomes of a token. SUPERSEDED names its successor in `next`. */
#define UNKNOWN 0
#define VALUE 1
#define CANCELED 2
#define SUPERSEDED 3
#define WITHDRAWN 4

/* The server. Tokens count from 1. */
byte granted = 0;          /* leases granted so far */
byte holder = NONE;        /* the token that the lease record carries */
bool expired = false;      /* whether that lease has run out */
bool marked = false;       /* whether somebody has begun to wait since it was granted, or since the first of its flight was */
byte owner[LEASES + 1];    /* the process that a token was granted to, from 1 */
byte stored[LEASES + 1];   /* the outcome that is kept under a token */
byte next[LEASES + 1];     /* its successor, where it was superseded */
bool took[LEASES + 1];     /* whether it took over */
byte waiters = 0;          /* a bit for each process that is registered */

/* What processes came to believe of a token: the outcome, whoever believed it. */
byte believed[LEASES + 1];

byte losses = 0;
hidden byte k;

/* The latest announcement that is under way to each process; an older one that is overtaken counts as lost. */
byte newsToken[PROCESSES];
byte newsOutcome[PROCESSES];

inline believe(token, outcome) {
    assert(believed[token] == UNKNOWN || believed[token] == outcome);
    believed[token] = outcome
}

inline decide(token, outcome) {
    d_step {
#ifdef ANNOUNCE_ONLY
        skip;
#else
        assert(stored[token] == UNKNOWN);
        stored[token] = outcome;
#endif
        k = 0;
        do
        :: k < PROCESSES ->
            if
            :: waiters & (1 << k) -> newsToken[k] = token; newsOutcome[k] = outcome
            :: else
            fi;
            k++
        :: else -> break
        od;
        waiters = 0
    }
}

/* The record changes by it: the leader's comparison fails. */
inline register() {
    waiters = waiters | (1 << me);
#ifndef NO_MARK
    marked = true
#endif
}

inline grant() {
    granted++;
    if
    :: took[granted]
    :: else -> marked = false
    fi;
    holder = granted;
    expired = false;
    owner[holder] = me + 1;
    waiters = waiters & ~(1 << me);
    token = holder
}

/* The scripts. Each leaves its answer in `answer`. */
mtype = { lead, follow, done, running, lapsed, gone, again, accepted, stale, unknown, renewed, lost, late };

inline enter() {
    if
    :: holder != NONE && owner[holder] == me + 1 && asked == holder -> answer = lead; token = holder
    :: asked != NONE && asked != holder && stored[asked] == CANCELED -> token = asked; answer = done
    :: asked != NONE && asked != holder && stored[asked] == WITHDRAWN -> answer = late
    :: else ->
        if
        :: holder != NONE && !expired ->
            register();
            token = holder;
            answer = follow
        :: else ->
            if
            :: granted == LEASES -> answer = late
            :: else ->
                if
                :: holder != NONE ->
#ifdef TAKEOVER
                    stored[holder] = SUPERSEDED;
                    next[holder] = granted + 1;
                    took[granted + 1] = true
#else
                    decide(holder, CANCELED)
#endif
                :: else
                fi;
                grant();
                asked = holder;
                answer = lead
            fi
        fi
    fi
}

inline renew() {
    if
    :: holder != token -> answer = lost
#ifdef RENEW_EXPIRED
    :: holder == token -> expired = false; answer = renewed
#else
    :: holder == token && expired -> answer = lost
    :: holder == token && !expired -> answer = renewed
#endif
    fi
}

inline complete() {
    if
#ifdef NO_TOKEN_CHECK
    :: holder != NONE ->
#else
    :: holder == token ->
#endif
        if
        :: waiters != 0 -> decide(token, VALUE)
        :: else
        fi;
        holder = NONE;
        expired = false;
        answer = accepted
    :: else ->
        if
        :: stored[token] == VALUE -> answer = accepted
        :: stored[token] == CANCELED || stored[token] == SUPERSEDED || stored[token] == WITHDRAWN -> answer = stale
        :: else -> answer = unknown
        fi
    fi
}

/* A command instead of the script: the lease's key is deleted if it holds what the leader wrote. */
inline compareAndDelete() {
    if
    :: holder == token && !marked ->
        assert(waiters == 0);
        holder = NONE;
        expired = false;
        answer = accepted
    :: else -> answer = stale
    fi
}

inline release() {
    if
    :: holder != token -> answer = lost
    :: holder == token && waiters != 0 -> answer = running
    :: holder == token && waiters == 0 -> holder = NONE; expired = false; answer = done
    fi
}

/* Nothing ran under the lease: its flight is as if it had never been granted. */
inline withdraw() {
    if
    :: holder != token -> answer = lost
    :: holder == token && waiters == 0 -> holder = NONE; expired = false; answer = done
    :: holder == token && waiters != 0 && took[token] -> expired = true; answer = done
    :: holder == token && waiters != 0 && !took[token] ->
        decide(token, WITHDRAWN);
        holder = NONE;
        expired = false;
        answer = done
    fi
}

inline poll() {
    if
    :: stored[token] == WITHDRAWN -> answer = again
    :: stored[token] == SUPERSEDED -> token = next[token]; answer = follow
    :: stored[token] == VALUE || stored[token] == CANCELED -> answer = done
    :: stored[token] == UNKNOWN && holder != token -> answer = gone
    :: stored[token] == UNKNOWN && holder == token && !expired ->
        register();
        answer = running
    :: stored[token] == UNKNOWN && holder == token && expired ->
#ifdef TAKEOVER
        answer = lapsed
#else
        decide(token, CANCELED);
        holder = NONE;
        expired = false;
        answer = done
#endif
    fi
}

/* Either the reply arrives, or it is lost and the process sends the same request again. */
#define REPLY(again) if :: true :: losses < LOSSES -> losses++; goto again fi

proctype Process(byte me) {
    byte token = NONE;
    byte asked = NONE;
    byte rounds = 1;
    byte seen;
    bool repeated;
    mtype answer;

start:
    atomic { asked = NONE; newsToken[me] = NONE };
entering:
    atomic {
        enter();
        REPLY(entering);
        if
        :: answer == lead -> goto unused
        :: answer == follow -> goto waiting
        :: answer == done -> believe(token, stored[token]); goto end
        :: answer == late -> goto end
        fi
    };

unused:
    /* The lease may be taken back before anything runs: everybody left, or the flight waited for before has ended after all. */
    if
    :: goto leading
    :: atomic { withdraw(); REPLY(unused); goto end }
    fi;
leading:
    /* The operation ends at any time; a lease that is believed to be lost ends it, too. */
    if
    :: atomic { renew(); REPLY(leading); if :: answer == renewed -> goto leading :: else -> goto end fi }
    :: repeated = false
    /* Everybody left: given up, unless somebody waits elsewhere. */
    :: atomic { release(); REPLY(leading); if :: answer == running -> goto leading :: else -> goto end fi }
    :: goto crashed
    fi;
    /* A server without the command, or a lease that was renewed: the script at once. */
    if
    :: true
    :: atomic {
        compareAndDelete();
        if
        :: true ->
            if
            :: answer == accepted -> believe(token, VALUE); goto end
            :: else
            fi
        :: losses < LOSSES -> losses++; repeated = true
        fi }
    fi;
completing:
    atomic {
        complete();
        if
        :: true
        :: losses < LOSSES -> losses++; repeated = true; goto completing
        fi;
        if
        :: answer == accepted -> believe(token, VALUE)
        /* Refused, unless the first sending may have been carried out: then nothing is said of the outcome. */
        :: answer == unknown && !repeated -> assert(believed[token] != VALUE)
        :: answer == unknown && repeated
        :: answer == stale -> assert(stored[token] != VALUE)
        fi;
        goto end
    };

waiting:
    if
    :: atomic { newsToken[me] != NONE -> seen = newsOutcome[me];
        if
        :: newsToken[me] == token && seen != WITHDRAWN -> newsToken[me] = NONE; believe(token, seen); goto end
        :: else -> newsToken[me] = NONE; goto polling
        fi }
    :: atomic { newsToken[me] != NONE -> newsToken[me] = NONE } goto waiting /* it was lost */
#ifdef LOCAL_CANCEL
    :: atomic { believe(token, CANCELED); goto end }
#endif
#ifdef RENEW_EXPIRED
    :: atomic { holder == token && expired -> believe(token, CANCELED); goto end }
#endif
    :: goto polling
    :: goto end /* nobody waits here any more */
    :: goto crashed
    fi;
polling:
    atomic {
        poll();
        REPLY(polling);
        if
        :: answer == done -> believe(token, stored[token]); goto end
        :: answer == follow -> goto polling
        :: answer == running -> goto waiting
        :: answer == lapsed || answer == again -> goto start
        :: answer == gone ->
            /* A flight that somebody waits for does not vanish. */
            assert(false);
            goto end
        fi
    };

end:
    waiters = waiters & ~(1 << me);
crashed:
    atomic {
        newsToken[me] = NONE; newsOutcome[me] = UNKNOWN; token = NONE; asked = NONE; seen = UNKNOWN; repeated = false;
        if
        :: rounds < ROUNDS -> rounds++; goto start
        :: else
        fi
    }
}

/* Leases run out, and are revoked, whenever they like. */
proctype World() {
end:
    do
    :: atomic { holder != NONE && !expired -> expired = true }
    :: atomic { holder != NONE -> decide(holder, CANCELED); holder = NONE; expired = false }
    od
}

init {
    byte i = 0;
    atomic {
        do
        :: i < PROCESSES -> run Process(i); i++
        :: else -> break
        od;
        run World()
    }
}
