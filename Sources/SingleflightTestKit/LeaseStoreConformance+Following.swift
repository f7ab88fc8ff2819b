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
            try expectEqual(await b.poll(token, policy), .expired, "the poll")
            try expectEqual(await b.enter(next, .long(policy)), .lead(attempt: 1), "the takeover")
            try expectEqual(await c.poll(token, policy), .superseded(by: next), "the other's poll")
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
            try expectEqual(await b.poll(token, policy), .gone, "the poll")
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
            try expectEqual(await a.poll(next, policy), .done(.canceled(.supersededTooOften)), "the poll")
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
                try expectEqual(await b.poll(handedOver, policy), .expired, "the poll after that")
            }
            try expectEqual(await b.enter(canceled, .long(policy)), .lead(attempt: 1), "the takeover")
            try expectEqual(await a.release(handedOver, .handOver), .notHeld, "handing over after the takeover")
            try await a.follow(canceled, .long(policy))
            try expectEqual(await b.release(canceled, .cancelWaiters), .released(waiters: 1), "canceling")
            try expectEqual(await b.release(canceled, .cancelWaiters), .notHeld, "its repetition")
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
            try await Self.canceling(run, .cancelWaiters, .leaderShutDown)
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
            try expectEqual(await b.poll(token, policy), .expired, "the poll")
            try expectEqual(await b.enter(run.token(), .long(policy)), .lead(attempt: 1), "the takeover")
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
