import SingleflightLease

extension LeaseStoreConformance {
    static let following: [Case] = [
        Case("a poll of a running flight registers the process again") { run in
            let (a, b) = (try await run.process("a"), try await run.process("b"))
            let token = run.token()
            _ = try await a.enter(token)
            try await b.follow(token)
            try expectEqual(await b.leave(token), LeaveReply(waiters: 0), "leaving")
            guard case .running(let remaining) = try await b.poll(token) else {
                throw ConformanceFailure("a poll of a running flight says that it runs")
            }
            try expectTrue(remaining > .seconds(10), "the remaining time \(remaining) is that of the lease")
            try expectEqual(await a.inspect().waiters, [b.store.inbox], "the waiters")
        },
        Case("a poll of an unknown flight says that it is gone, and registers nobody") { run in
            let (a, b) = (try await run.process("a"), try await run.process("b"))
            try expectEqual(await b.poll(run.token()), .gone, "without a lease")
            _ = try await a.enter(run.token())
            try expectEqual(await b.poll(run.token()), .gone, "under another lease")
            try expectEqual(await a.inspect().waiters, [], "the waiters")
        },
        Case("the leader hears when the last waiter leaves, and not before") { run in
            let (a, b, c) = (try await run.process("a"), try await run.process("b"), try await run.process("c"))
            let token = run.token()
            let listener = a.listen()
            _ = try await a.enter(token)
            try await b.follow(token)
            try await c.follow(token)
            try expectEqual(await b.leave(token), LeaveReply(waiters: 1), "the first leaving")
            try expectEqual(listener.heardCount, 0, "announcements while one still waits")
            try expectEqual(await c.leave(token), LeaveReply(waiters: 0), "the second leaving")
            let announcement = try await listener.next()
            try expectEqual(announcement, Announcement(token: token, news: .unawaited), "the announcement")
        },
        Case("a renewal with news tells all who wait of it, in order, and one without tells nobody") { run in
            let (a, b, c) = (try await run.process("a"), try await run.process("b"), try await run.process("c"))
            let token = run.token()
            let listeners = [b.listen(), c.listen()]
            _ = try await a.enter(token)
            try await b.follow(token)
            try await c.follow(token)
            let news = [
                FlightProgress(fraction: 0.25, message: "a quarter"), FlightProgress(message: "two\nlines, ä and %"),
                FlightProgress(fraction: 1),
            ]
            try expectEqual(await a.renew(token), .renewed(waiters: 2), "a renewal without news")
            for progress in news {
                try expectEqual(await a.renew(token, news: progress), .renewed(waiters: 2), "a renewal with news")
            }
            for listener in listeners {
                for progress in news {
                    let expected = Announcement(token: token, news: .progress(progress))
                    try expectEqual(await listener.next(), expected, "the announcement")
                }
            }
        },
        Case("a renewal that is refused tells its news to nobody") { run in
            let (a, b) = (try await run.process("a"), try await run.process("b"))
            let token = run.token()
            let listener = b.listen()
            _ = try await a.enter(token)
            try await b.follow(token)
            try expectEqual(await a.renew(run.token(), news: FlightProgress(fraction: 0.5)), .lost(), "the renewal")
            try expectEqual(await a.complete(token, .value([1])), .accepted(waiters: 1), "the completion")
            let announcement = try await listener.next()
            try expectEqual(announcement, Announcement(token: token, news: .outcome(.value([1]))), "the first news")
        },
        Case("a process with another waiting listener stays registered, one with a leading listener does not") { run in
            let (a, b) = (try await run.process("a"), try await run.process("b"))
            let token = run.token()
            _ = try await a.enter(token)
            try await b.follow(token)
            let registration = b.store.listen(for: run.key) { _ in }
            _ = try await b.leave(token)
            try expectEqual(await a.inspect().waiters, [b.store.inbox], "the waiters while one listens")
            registration.stopWaiting()
            _ = try await b.leave(token)
            try expectEqual(await a.inspect().waiters, [], "the waiters while one leads")
            registration.cancel()
        },
    ]

    static let loss: [Case] = [
        Case("the first poll of an expired flight cancels it, once, for everybody") { run in
            let (a, b, c) = (try await run.process("a"), try await run.process("b"), try await run.process("c"))
            let token = run.token()
            let listener = c.listen()
            _ = try await a.enter(token, .short())
            try await b.follow(token)
            try await c.follow(token)
            await run.expire()
            try expectEqual(await b.poll(token), .done(.canceled(.leaseExpired)), "the first poll")
            let announcement = try await listener.next()
            try expectEqual(announcement.news, .outcome(.canceled(.leaseExpired)), "the announcement")
            try expectEqual(await c.poll(token), .done(.canceled(.leaseExpired)), "the second poll")
            try expectEqual(listener.heardCount, 0, "further announcements")
            try expectEqual(await c.enter(run.token()), .lead(attempt: 0), "the next enter")
        },
        Case("entering an expired flight cancels it for those who wait, and leads") { run in
            let (a, b, c) = (try await run.process("a"), try await run.process("b"), try await run.process("c"))
            let token = run.token()
            let listener = b.listen()
            _ = try await a.enter(token, .short())
            try await b.follow(token)
            await run.expire()
            try expectEqual(await c.enter(run.token()), .lead(attempt: 0), "the enter")
            let announcement = try await listener.next()
            try expectEqual(
                announcement,
                Announcement(token: token, news: .outcome(.canceled(.leaseExpired))),
                "the announcement"
            )
            try expectEqual(await c.inspect().waiters, [], "the new flight's waiters")
        },
        Case("a takeover keeps the waiters, and points those who poll to the new token") { run in
            let (a, b, c) = (try await run.process("a"), try await run.process("b"), try await run.process("c"))
            let (token, next) = (run.token(), run.token())
            let policy = LeaderLossPolicy.takeOver(attempts: 2)
            _ = try await a.enter(token, .short(policy))
            try await b.follow(token)
            try await c.follow(token)
            await run.expire()
            try expectEqual(await b.poll(token), .expired, "the poll")
            try expectEqual(await b.enter(next, .long(policy)), .lead(attempt: 1), "the takeover")
            try expectEqual(await c.poll(token), .superseded(by: next), "the other's poll")
            try expectEqual(await c.inspect().waiters, [c.store.inbox], "the waiters")
            try expectEqual(await a.renew(token), .lost(), "the lost leader's renewal")
            let listener = c.listen()
            try expectEqual(await b.complete(next, .value([1])), .accepted(waiters: 1), "the completion")
            let announcement = try await listener.next()
            try expectEqual(announcement, Announcement(token: next, news: .outcome(.value([1]))), "the announcement")
        },
        Case("an expired flight is forgotten when its grace ends") { run in
            let (a, b) = (try await run.process("a"), try await run.process("b"))
            let (token, policy) = (run.token(), LeaderLossPolicy.takeOver(attempts: 1))
            let brief = LeaseTerms(
                duration: .seconds(1),
                grace: .seconds(1),
                retention: .seconds(30),
                leaderLoss: policy
            )
            _ = try await a.enter(token, brief)
            try await b.follow(token, brief)
            await run.fixture.advance(by: .milliseconds(2200))
            try expectEqual(await b.inspect(), LeaseInspection(lease: nil, waiters: []), "the key")
            try expectEqual(await b.poll(token), .gone, "the poll")
            try expectEqual(await a.renew(token), .lost(), "the renewal")
            try expectEqual(await a.complete(token, .value([1])), .unknown(current: nil), "the completion")
            try expectEqual(await b.enter(run.token(), .long(policy)), .lead(attempt: 0), "the next flight")
        },
        Case("after as many takeovers as the policy allows the flight ends") { run in
            let (a, b) = (try await run.process("a"), try await run.process("b"))
            let policy = LeaderLossPolicy.takeOver(attempts: 1)
            let next = run.token()
            _ = try await a.enter(run.token(), .short(policy))
            await run.expire()
            try expectEqual(await b.enter(next, .short(policy)), .lead(attempt: 1), "the first takeover")
            await run.expire()
            try expectEqual(await a.poll(next), .done(.canceled(.supersededTooOften)), "the poll")
            try expectEqual(await a.enter(run.token()), .lead(attempt: 0), "the next flight")
        },
    ]

    static let releasing: [Case] = [
        Case("a release that is repeated changes nothing more") { run in
            let (a, b) = (try await run.process("a"), try await run.process("b"))
            let policy = LeaderLossPolicy.takeOver(attempts: 1)
            let (alone, handedOver, canceled) = (run.token(), run.token(), run.token())
            _ = try await a.enter(alone)
            try expectEqual(await a.release(alone, .handOver), .released(waiters: 0), "while nobody waits")
            try expectEqual(await a.release(alone, .handOver), .notHeld, "its repetition")
            _ = try await a.enter(handedOver, .long(policy))
            try await b.follow(handedOver, .long(policy))
            for _ in 0..<2 {
                try expectEqual(await a.release(handedOver, .handOver), .released(waiters: 1), "handing over")
                try expectEqual(await b.poll(handedOver), .expired, "the poll after that")
            }
            let next = run.token()
            try expectEqual(await b.enter(next, .long(policy)), .lead(attempt: 1), "the takeover")
            try expectEqual(await a.release(handedOver, .handOver), .notHeld, "handing over after the takeover")
            _ = try await b.complete(next, .value([]))
            try expectEqual(await b.enter(canceled), .lead(attempt: 0), "the next flight")
            try await a.follow(canceled)
            try expectEqual(await b.release(canceled, .shutDown), .released(waiters: 1), "canceling")
            try expectEqual(await b.release(canceled, .shutDown), .notHeld, "its repetition")
            try expectEqual(await a.poll(canceled), .done(.canceled(.leaderShutDown)), "the outcome")
        },
        Case("a lease is released unless somebody waits") { run in
            let (a, b) = (try await run.process("a"), try await run.process("b"))
            let token = run.token()
            try expectEqual(await a.release(token, .unlessAwaited), .notHeld, "releasing nothing")
            _ = try await a.enter(token)
            try await b.follow(token)
            try expectEqual(await a.release(token, .unlessAwaited), .awaited(waiters: 1), "while one waits")
            try expectEqual(await a.renew(token), .renewed(waiters: 1), "the renewal after that")
            _ = try await b.leave(token)
            try expectEqual(await a.release(token, .unlessAwaited), .released(waiters: 0), "while nobody waits")
            try expectEqual(await a.renew(token), .lost(), "the renewal after that")
        },
        Case("a release that cancels tells those who wait that the leader shut down") { run in
            try await Self.canceling(run, .shutDown, .leaderShutDown)
        },
        Case("a release that gives up tells those who wait that the leader left") { run in
            try await Self.canceling(run, .giveUp, .leaderLeft)
        },
        Case("a release that hands over lets those who wait take over at once") { run in
            let (a, b) = (try await run.process("a"), try await run.process("b"))
            let (token, policy) = (run.token(), LeaderLossPolicy.takeOver(attempts: 1))
            let listener = b.listen()
            _ = try await a.enter(token, .long(policy))
            try await b.follow(token, .long(policy))
            try expectEqual(await a.release(token, .handOver), .released(waiters: 1), "the release")
            let announcement = try await listener.next()
            try expectEqual(announcement, Announcement(token: token, news: .hint), "the announcement")
            try expectEqual(await a.renew(token), .expired, "the renewal after that")
            try expectEqual(await b.poll(token), .expired, "the poll")
            try expectEqual(await b.enter(run.token(), .long(policy)), .lead(attempt: 1), "the takeover")
        },
    ]

    static let withdrawing: [Case] = [
        Case("a lease that is given back before anything ran has those who wait enter again") { run in
            let (a, b) = (try await run.process("a"), try await run.process("b"))
            let token = run.token()
            let listener = b.listen()
            _ = try await a.enter(token)
            try await b.follow(token)
            try expectEqual(await a.release(token, .withdraw), .released(waiters: 1), "the withdrawal")
            let announcement = try await listener.next()
            try expectEqual(announcement, Announcement(token: token, news: .hint), "the announcement")
            try expectEqual(await b.poll(token), .withdrawn, "the poll")
            try expectEqual(await a.release(token, .withdraw), .notHeld, "the repetition")
            try expectEqual(await a.complete(token, .value([1])), .stale(current: nil), "a completion after that")
            try expectEqual(await b.enter(run.token()), .lead(attempt: 0), "entering again")
        },
        Case("a request that is taken back leads no more, if it is carried out again") { run in
            let (a, b) = (try await run.process("a"), try await run.process("b"))
            let token = run.token()
            _ = try await a.enter(token)
            try await b.follow(token)
            _ = try await a.release(token, .withdraw)
            try expectEqual(await a.enter(token, isRepetition: true), .late, "the repetition")
            try expectEqual(await a.inspect().lease, nil, "the lease")
        },
        Case("taking back a takeover leaves the flight as if nobody had taken over") { run in
            let (a, b, c) = (try await run.process("a"), try await run.process("b"), try await run.process("c"))
            let (token, unused, next) = (run.token(), run.token(), run.token())
            let policy = LeaderLossPolicy.takeOver(attempts: 1)
            _ = try await a.enter(token, .short(policy))
            try await c.follow(token)
            await run.expire()
            try expectEqual(await b.enter(unused), .lead(attempt: 1), "the takeover")
            try expectEqual(await b.release(unused, .withdraw), .released(waiters: 1), "the withdrawal")
            try expectEqual(await c.poll(token), .superseded(by: unused), "the poll of the first")
            try expectEqual(await c.poll(unused), .expired, "the poll of the second")
            try expectEqual(await c.enter(next), .lead(attempt: 1), "the next takeover")
        },
        Case("a request that is taken back is a waiter no more, and what came later stays") { run in
            let (a, b) = (try await run.process("a"), try await run.process("b"))
            let (first, own, later) = (run.token(), run.token(), run.token())
            let listener = a.listen()
            _ = try await a.enter(first)
            guard case .follow = try await b.enter(own) else { throw ConformanceFailure("the second follows") }
            try expectEqual(await b.release(own, .withdraw), .notHeld, "the withdrawal")
            try expectEqual(await a.inspect().waiters, [], "the waiters")
            let announcement = try await listener.next()
            try expectEqual(announcement, Announcement(token: first, news: .unawaited), "the announcement")
            guard case .follow = try await b.enter(later) else { throw ConformanceFailure("the third follows") }
            _ = try await b.release(own, .withdraw)
            try expectEqual(await a.inspect().waiters, [b.store.inbox], "the waiters after a late withdrawal")
            try expectEqual(await b.poll(first).isRunning, true, "the poll")
            _ = try await b.release(later, .withdraw)
            try expectEqual(await a.inspect().waiters, [b.store.inbox], "the waiters after it asked again")
        },
        Case("leaving a flight strikes no registration for a later one") { run in
            let (a, b) = (try await run.process("a"), try await run.process("b"))
            let (first, second) = (run.token(), run.token())
            _ = try await a.enter(first)
            try await b.follow(first)
            _ = try await a.complete(first, .value([1]))
            _ = try await a.enter(second)
            try await b.follow(second)
            try expectEqual(await b.leave(first), LeaveReply(waiters: 1), "leaving the first")
            try expectEqual(await a.inspect().waiters, [b.store.inbox], "the waiters of the second")
            try expectEqual(await b.leave(second), LeaveReply(waiters: 0), "leaving the second")
        },
        Case("leaving a flight that was taken over meanwhile is leaving") { run in
            let (a, b, c) = (try await run.process("a"), try await run.process("b"), try await run.process("c"))
            let token = run.token()
            _ = try await a.enter(token, .short(.takeOver(attempts: 1)))
            try await b.follow(token)
            await run.expire()
            try expectEqual(await c.enter(run.token()), .lead(attempt: 1), "the takeover")
            try expectEqual(await b.leave(token), LeaveReply(waiters: 0), "leaving")
        },
    ]

    static let terms: [Case] = [
        Case("what becomes of a flight follows its first leader's terms, not those of the process that asks") { run in
            let (a, b, c) = (try await run.process("a"), try await run.process("b"), try await run.process("c"))
            let (token, next) = (run.token(), run.token())
            _ = try await a.enter(token, .short(.takeOver(attempts: 1)))
            try await b.follow(token, .long(.cancel))
            await run.expire()
            try expectEqual(await b.poll(token), .expired, "the poll of a process that would cancel")
            try expectEqual(await b.enter(next, .short(.cancel)), .lead(attempt: 1), "its takeover")
            try await c.follow(next, .long(.takeOver(attempts: 9)))
            try expectEqual(await b.renew(next, .short(.cancel)), .renewed(waiters: 1), "its renewal")
            try expectEqual(await b.release(next, .shutDown), .released(waiters: 1), "its shutdown")
            try expectEqual(await c.poll(next), .done(.canceled(.supersededTooOften)), "the end")
        },
        Case("a process that would take over cancels a flight that was to be canceled") { run in
            let (a, b) = (try await run.process("a"), try await run.process("b"))
            let token = run.token()
            _ = try await a.enter(token, .short(.cancel))
            try await b.follow(token, .long(.takeOver(attempts: 9)))
            await run.expire()
            try expectEqual(await b.enter(run.token(), .long(.takeOver(attempts: 9))), .lead(attempt: 0), "the enter")
            try expectEqual(await b.poll(token), .done(.canceled(.leaseExpired)), "the poll")
        },
        Case("a flight that could be taken over ends where nobody can, and the time for it is over") { run in
            let (a, b) = (try await run.process("a"), try await run.process("b"))
            let token = run.token()
            _ = try await a.enter(token, .short(.takeOver(attempts: 1)))
            try await b.follow(token)
            await run.expire()
            try expectEqual(await b.poll(token), .expired, "the poll")
            try expectEqual(await b.poll(token, mayEnd: true), .done(.canceled(.leaseExpired)), "the last poll")
        },
        Case("an abandoned leader finds that those who wait have died") { run in
            let (a, b, c) = (try await run.process("a"), try await run.process("b"), try await run.process("c"))
            let token = run.token()
            _ = try await a.enter(token)
            try await b.follow(token)
            try await c.follow(token)
            await run.fixture.kill(b.store)
            try expectEqual(await a.renew(token), .renewed(waiters: 2), "a renewal while somebody waits here")
            try expectEqual(await a.renew(token, isAbandoned: true), .renewed(waiters: 1), "one while nobody does")
            try expectEqual(await a.release(token, .unlessAwaited), .awaited(waiters: 1), "the release")
            await run.fixture.kill(c.store)
            try expectEqual(await a.renew(token, isAbandoned: true), .renewed(waiters: 0), "the next renewal")
            try expectEqual(await a.release(token, .unlessAwaited), .released(waiters: 0), "the next release")
        },
        Case("a waiter that was thought dead is told to enter again") { run in
            let (a, b) = (try await run.process("a"), try await run.process("b"))
            let token = run.token()
            _ = try await a.enter(token)
            try await b.follow(token)
            await run.fixture.kill(b.store)
            try expectEqual(await a.release(token, .unlessAwaited), .released(waiters: 0), "the release")
            try expectEqual(await a.poll(token), .withdrawn, "the poll")
        },
    ]

    static let circles: [Case] = [
        Case("the process that closes a circle of flights that wait for one another is told the way") { run in
            let (a, b, c) = (try await run.process("a"), try await run.process("b"), try await run.process("c"))
            let keys = try ["x", "y", "z"].map { try FlightKey(group: "conformance", bytes: run.key.bytes + $0.utf8) }
            let flights = keys.map { EnclosingFlight(key: $0, token: run.token()) }
            for (process, flight) in zip([a, b, c], flights) {
                _ = try await process.on(flight.key).enter(flight.token)
            }
            let (x, y, z) = (flights[0], flights[1], flights[2])
            try expectEqual(await a.on(y.key).depend(y.token, on: [x]), .noted, "x waits for y")
            try expectEqual(await b.on(z.key).depend(z.token, on: [y]), .noted, "y waits for z")
            try expectEqual(
                await c.on(y.key).depend(y.token, on: [z]),
                .circular(path: [y, z].map { "\($0.key)" }),
                "z for y"
            )
            let long = DependReply.circular(path: [x, y, z].map { "\($0.key)" })
            try expectEqual(await c.on(x.key).depend(x.token, on: [z]), long, "z waits for x")
            try expectEqual(await a.on(x.key).depend(x.token, on: [x]), .circular(path: ["\(x.key)"]), "x for itself")
            // A renewal keeps what is known, and a flight that has ended closes no circle.
            _ = try await a.on(x.key).renew(x.token)
            try expectEqual(await c.on(x.key).depend(x.token, on: [z]), long, "z waits for x again")
            _ = try await b.on(y.key).complete(y.token, .value([]))
            try expectEqual(await c.on(x.key).depend(x.token, on: [z]), .noted, "z waits for x after the end of y")
        },
        Case("a flight waits on behalf of all flights around it") { run in
            let (a, b) = (try await run.process("a"), try await run.process("b"))
            let keys = try ["x", "y", "z"].map { try FlightKey(group: "conformance", bytes: run.key.bytes + $0.utf8) }
            let flights = keys.map { EnclosingFlight(key: $0, token: run.token()) }
            let (x, y, z) = (flights[0], flights[1], flights[2])
            for (process, flight) in zip([a, a, b], flights) {
                _ = try await process.on(flight.key).enter(flight.token)
            }
            try expectEqual(await a.on(z.key).depend(z.token, on: [y, x]), .noted, "x and y wait for z")
            let path = DependReply.circular(path: [x, z].map { "\($0.key)" })
            try expectEqual(await b.on(x.key).depend(x.token, on: [z]), path, "z waits for x")
        },
    ]

    static let identities: [Case] = [
        Case("keys of any bytes and any length are told apart") { run in
            let (a, b) = (try await run.process("a"), try await run.process("b"))
            let prefix = run.key.bytes
            let tails: [[UInt8]] = [
                [], Array(0...255), Array("{}% \n\r\0:".utf8), Array("%7B".utf8), Array("{".utf8),
                Array(repeating: 0x61, count: 1000), Array(repeating: 0x61, count: 1001),
            ]
            var tokens: [LeaseToken] = []
            for tail in tails {
                let key = try FlightKey(group: run.key.group, bytes: prefix + tail)
                let token = run.token()
                let entered = try await a.on(key).enter(token)
                try expectEqual(entered, .lead(attempt: 0), "entering a key that ends in \(tail.prefix(16))")
                tokens.append(token)
            }
            for (tail, token) in zip(tails, tokens) {
                let key = try FlightKey(group: run.key.group, bytes: prefix + tail)
                let listener = b.on(key).listen()
                try await b.on(key).follow(token)
                _ = try await a.on(key).complete(token, .value(tail))
                let announcement = try await listener.next()
                try expectEqual(announcement.news, .outcome(.value(tail)), "the outcome of a key")
            }
        },
        Case("a key may begin with any byte") { run in
            let (a, b) = (try await run.process("a"), try await run.process("b"))
            for head in [[0x00], [0x0A], [0x20], [0x25], [0x7B], [0x7E], [0x80], [0xFF], Array(0...255)] as [[UInt8]] {
                let key = try FlightKey(group: run.key.group, bytes: head + run.key.bytes)
                let token = run.token()
                let listener = b.on(key).listen()
                let entered = try await a.on(key).enter(token)
                try expectEqual(entered, .lead(attempt: 0), "entering a key that begins with \(head[0])")
                try await b.on(key).follow(token)
                _ = try await a.on(key).complete(token, .value(head))
                try expectEqual(await listener.next().news, .outcome(.value(head)), "the outcome of a key")
            }
        },
        Case("the empty key is a key") { run in
            let group = "empty-\(run.token().description.prefix(16))"
            let a = try await run.process("a").on(try FlightKey(group: group, bytes: []))
            let token = run.token()
            try expectEqual(await a.enter(token), .lead(attempt: 0), "entering")
            try expectEqual(await a.complete(token, .value([])), .accepted(waiters: 0), "completing")
        },
        Case("payloads of any bytes and any size arrive as they are") { run in
            let (a, b) = (try await run.process("a"), try await run.process("b"))
            for payload in [[], Array(0...255), Array(repeating: 0xA5, count: 100 * 1024)] as [[UInt8]] {
                let token = run.token()
                let listener = b.listen()
                _ = try await a.enter(token)
                try await b.follow(token)
                _ = try await a.complete(token, .value(payload))
                let announcement = try await listener.next()
                let outcome = StoredOutcome.value(payload)
                try expectTrue(
                    announcement.news == .outcome(outcome) || (payload.count > 1024 && announcement.news == .hint),
                    "\(payload.count) bytes are announced, or hinted at where they are many"
                )
                try expectTrue(
                    try await b.poll(token) == .done(outcome),
                    "\(payload.count) bytes are polled as they are"
                )
            }
        },
        Case("equal keys of two groups are two keys") { run in
            let a = try await run.process("a")
            let other = a.on(try FlightKey(group: "conformance-2", bytes: run.key.bytes))
            try expectEqual(await a.enter(run.token()), .lead(attempt: 0), "the first group")
            try expectEqual(await other.enter(run.token()), .lead(attempt: 0), "the second group")
        },
    ]

    private static func canceling(
        _ run: ConformanceRun,
        _ mode: ReleaseRequest.Mode,
        _ reason: CanceledFlight
    ) async throws {
        let (a, b) = (try await run.process("a"), try await run.process("b"))
        let token = run.token()
        let listener = b.listen()
        _ = try await a.enter(token)
        try await b.follow(token)
        try expectEqual(await a.release(token, mode), .released(waiters: 1), "the release")
        let announcement = try await listener.next()
        try expectEqual(announcement.news, .outcome(.canceled(reason)), "the announcement")
        try expectEqual(await b.poll(token), .done(.canceled(reason)), "the poll")
        try expectEqual(await b.inspect().lease, nil, "the lease")
    }
}

extension PollReply {
    fileprivate var isRunning: Bool { if case .running = self { true } else { false } }
}
