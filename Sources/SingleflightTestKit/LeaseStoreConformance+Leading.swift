import SingleflightLease

extension LeaseStoreConformance {
    static let leading: [Case] = [
        Case("the first to enter leads, and the next follows it and is registered") { run in
            let (a, b) = (try await run.process("a"), try await run.process("b"))
            let token = run.token()
            try expectEqual(try await a.enter(token), .lead(attempt: 0), "the first enter")
            try await b.follow(token)
            let inspection = try await a.inspect()
            try expectEqual(inspection.lease?.token, token, "the inspected token")
            try expectEqual(inspection.lease?.inbox, a.store.inbox, "the inspected leader")
            try expectEqual(inspection.lease?.note.label, "a", "the inspected label")
            try expectEqual(inspection.waiters, [b.store.inbox], "the inspected waiters")
        },
        Case("an enter that is repeated under its token leads again") { run in
            let a = try await run.process("a")
            let token = run.token()
            _ = try await a.enter(token)
            try expectEqual(try await a.enter(token), .lead(attempt: 0), "the repeated enter")
        },
        Case("an enter that comes later than it may is refused, and neither leads nor registers") { run in
            let (a, b) = (try await run.process("a"), try await run.process("b"))
            let token = run.token()
            _ = try await a.enter(token)
            // From the first answer the process knows the time.
            try await b.follow(token)
            _ = try await b.leave(token)
            let tooLate = Duration.seconds(-60)
            try expectEqual(try await b.enter(run.token(), validity: tooLate), .late, "an enter while a lease is held")
            try expectEqual(try await a.inspect().waiters, [], "the waiters")
            _ = try await a.complete(token, .value([]))
            let repeated = try await b.enter(run.token(), validity: tooLate, isRepetition: true)
            try expectEqual(repeated, .late, "a repetition while no lease is held")
            try expectEqual(try await a.inspect().lease, nil, "the lease")
            try expectEqual(try await b.enter(token), .lead(attempt: 0), "an enter in time")
        },
        Case("a process that enters twice is one waiter") { run in
            let (a, b) = (try await run.process("a"), try await run.process("b"))
            let token = run.token()
            _ = try await a.enter(token)
            try await b.follow(token)
            try await b.follow(token)
            try expectEqual(try await a.renew(token), .renewed(waiters: 1), "the renewal")
        },
        Case("a renewal prolongs the lease and carries the note") { run in
            let a = try await run.process("a")
            let token = run.token()
            _ = try await a.enter(token, .short())
            let note = LeaseNote(label: "a", renewals: 7, progress: FlightProgress(fraction: 0.5, message: "half"))
            try expectEqual(try await a.renew(token, .long(), note: note), .renewed(waiters: 0), "the renewal")
            await run.expire()
            let lease = try await a.inspect().lease
            try expectEqual(lease?.isExpired, false, "whether the renewed lease is expired")
            try expectEqual(lease?.note.renewals, 7, "the renewals in the note")
            try expectEqual(lease?.note.progress, note.progress, "the progress in the note")
        },
        Case("a renewal under a token that holds no lease is lost") { run in
            let a = try await run.process("a")
            try expectEqual(try await a.renew(run.token()), .lost(), "renewing nothing")
            let token = run.token()
            _ = try await a.enter(token)
            try expectEqual(try await a.renew(run.token()), .lost(), "renewing under another token")
            try expectEqual(try await a.inspect().lease?.token, token, "the holder after that")
        },
        Case("an expired lease that nobody claimed is not renewed, and stays expired") { run in
            let a = try await run.process("a")
            let token = run.token()
            _ = try await a.enter(token, .short())
            await run.expire()
            try expectEqual(try await a.renew(token), .expired, "the renewal")
            try expectEqual(try await a.renew(token), .expired, "the second renewal")
        },
        Case("fences increase within and across leases, and none is drawn without a lease") { run in
            let a = try await run.process("a")
            var last = Fence(rawValue: 0)
            try expectEqual(try await a.fence(run.token()), .lost, "a fence without a lease")
            for _ in 0..<3 {
                let token = run.token()
                _ = try await a.enter(token)
                for _ in 0..<2 {
                    guard case .drawn(let fence) = try await a.fence(token) else {
                        throw ConformanceFailure("the holder of a lease draws a fence")
                    }
                    try expectTrue(fence > last, "fence \(fence) is greater than \(last)")
                    last = fence
                }
                _ = try await a.complete(token, .value([]))
                try expectEqual(try await a.fence(token), .lost, "a fence after completion")
            }
            let token = run.token()
            _ = try await a.enter(token, .short())
            await run.expire()
            try expectEqual(try await a.fence(token), .lost, "a fence under an expired lease")
        },
    ]

    static let ending: [Case] = [
        Case("a completion is stored before it is announced, and frees the key") { run in
            let (a, b) = (try await run.process("a"), try await run.process("b"))
            let (token, outcome) = (run.token(), StoredOutcome.value([1, 2, 3]))
            let listener = b.listen()
            _ = try await a.enter(token)
            try await b.follow(token)
            try expectEqual(try await a.complete(token, outcome), .accepted(waiters: 1), "the completion")
            let announcement = try await listener.next()
            try expectEqual(announcement, Announcement(token: token, news: .outcome(outcome)), "the announcement")
            try expectEqual(try await b.poll(token), .done(outcome), "the poll after it")
            try expectEqual(try await b.inspect(), LeaseInspection(lease: nil, waiters: []), "the key")
        },
        Case("a completion that is repeated is a duplicate, and does not change the outcome") { run in
            let (a, b) = (try await run.process("a"), try await run.process("b"))
            let token = run.token()
            _ = try await a.enter(token)
            try await b.follow(token)
            _ = try await a.complete(token, .failure([9]))
            try expectEqual(try await a.complete(token, .failure([8])), .duplicate, "the repetition")
            try expectEqual(try await b.poll(token), .done(.failure([9])), "the outcome")
        },
        Case("a completion that nobody waits for leaves nothing, so that its repetition is unknown") { run in
            let a = try await run.process("a")
            let token = run.token()
            _ = try await a.enter(token)
            try expectEqual(try await a.complete(token, .value([])), .accepted(waiters: 0), "the completion")
            try expectEqual(try await a.complete(token, .value([])), .unknown(current: nil), "the repetition")
            try expectEqual(try await a.poll(token), .gone, "the poll")
        },
        Case("a completion past the expiry is accepted as long as nobody noticed") { run in
            let (a, b) = (try await run.process("a"), try await run.process("b"))
            let token = run.token()
            _ = try await a.enter(token, .short())
            try await b.follow(token)
            await run.expire()
            try expectEqual(try await a.complete(token, .value([5])), .accepted(waiters: 1), "the late completion")
            try expectEqual(try await b.poll(token), .done(.value([5])), "the poll")
        },
        Case("a completion is stale once the flight was canceled or taken over") { run in
            let (a, b) = (try await run.process("a"), try await run.process("b"))
            let (canceled, takenOver, next) = (run.token(), run.token(), run.token())
            _ = try await a.enter(canceled, .short())
            await run.expire()
            _ = try await b.poll(canceled)
            let refused = CompleteReply.stale(current: nil, reason: .leaseExpired)
            try expectEqual(try await a.complete(canceled, .value([1])), refused, "after the cancellation")
            _ = try await a.enter(takenOver, .short(.takeOver(attempts: 1)))
            await run.expire()
            _ = try await b.enter(next, .long(.takeOver(attempts: 1)))
            try expectEqual(try await a.complete(takenOver, .value([2])), .stale(current: next), "after the takeover")
            try expectEqual(try await b.renew(next), .renewed(waiters: 0), "the new leader's renewal")
        },
        Case("a reusable outcome is given to those who accept it, and not to the others") { run in
            let (a, b) = (try await run.process("a"), try await run.process("b"))
            let token = run.token()
            _ = try await a.enter(token)
            _ = try await a.complete(token, .value([7]), reuse: .seconds(30))
            let reply = try await b.enter(run.token(), .long(acceptsReuse: true))
            let freshness = try expectReuse(reply, of: token, .value([7]), "an enter that accepts it")
            try expectTrue(freshness.left > .seconds(10) && freshness.left <= .seconds(30), "it is kept for 30 seconds")
            try expectEqual(freshness.isLed, false, "that somebody leads")
            try expectEqual(try await b.enter(run.token()), .lead(attempt: 0), "an enter that does not")
        },
        Case("a reusable outcome is given while somebody leads, too, and says so") { run in
            let (a, b) = (try await run.process("a"), try await run.process("b"))
            let (token, next) = (run.token(), run.token())
            _ = try await a.enter(token)
            _ = try await a.complete(token, .value([7]), reuse: .seconds(30))
            _ = try await a.enter(next)
            let reply = try await b.enter(run.token(), .long(acceptsReuse: true))
            let freshness = try expectReuse(reply, of: token, .value([7]), "an enter that accepts it")
            try expectEqual(freshness.isLed, true, "that somebody leads")
            try expectEqual(try await a.complete(next, .value([8])), .accepted(waiters: 0), "nobody waits for it")
        },
        Case("an outcome that is not kept for long enough is not wanted") { run in
            let (a, b) = (try await run.process("a"), try await run.process("b"))
            let (token, next) = (run.token(), run.token())
            _ = try await a.enter(token)
            _ = try await a.complete(token, .value([7]), reuse: .seconds(30))
            let enough = try await b.enter(run.token(), .long(acceptsReuse: true), leastLife: .seconds(10))
            _ = try expectReuse(enough, of: token, .value([7]), "an enter for which it is")
            let tooLittle = try await b.enter(next, .long(acceptsReuse: true), leastLife: .seconds(60))
            try expectEqual(tooLittle, .lead(attempt: 0), "an enter for which it is not")
            try await a.follow(next, .long(acceptsReuse: true), leastLife: .seconds(60))
        },
        Case("a refresh that fails keeps the earlier outcome, and one that does not replaces it") { run in
            let (a, b) = (try await run.process("a"), try await run.process("b"))
            let (token, failed, renewed) = (run.token(), run.token(), run.token())
            _ = try await a.enter(token)
            _ = try await a.complete(token, .value([7]), reuse: .seconds(30))
            for isAwaited in [false, true] {
                let refresh = isAwaited ? run.token() : failed
                _ = try await a.enter(refresh)
                if isAwaited { try await b.follow(refresh) }
                _ = try await a.complete(refresh, .failure([8]), keepsEarlier: true)
                let kept = try await b.enter(run.token(), .long(acceptsReuse: true))
                _ = try expectReuse(kept, of: token, .value([7]), "an enter after the failure")
            }
            _ = try await a.enter(renewed)
            _ = try await a.complete(renewed, .value([9]), reuse: .seconds(30), keepsEarlier: true)
            let reply = try await b.enter(run.token(), .long(acceptsReuse: true))
            _ = try expectReuse(reply, of: renewed, .value([9]), "an enter after the value")
        },
        Case("an outcome that is not reusable ends the reuse of an earlier one") { run in
            let (a, b) = (try await run.process("a"), try await run.process("b"))
            for isAwaited in [false, true] {
                let (first, second) = (run.token(), run.token())
                _ = try await a.enter(first)
                _ = try await a.complete(first, .value([7]), reuse: .seconds(30))
                _ = try await a.enter(second)
                if isAwaited { try await b.follow(second) }
                _ = try await a.complete(second, .value([8]))
                let third = run.token()
                let reply = try await b.enter(third, .long(acceptsReuse: true))
                try expectEqual(reply, .lead(attempt: 0), "an enter that accepts a result")
                _ = try await b.complete(third, .value([9]))
            }
        },
        Case("an outcome is forgotten after its retention, and no longer reused after its time") { run in
            let (a, b) = (try await run.process("a"), try await run.process("b"))
            let token = run.token()
            let short = Duration.milliseconds(600)
            _ = try await a.enter(token, .short(retention: short))
            try await b.follow(token)
            _ = try await a.complete(token, .value([7]), reuse: short)
            await run.fixture.advance(by: .milliseconds(800))
            try expectEqual(try await b.poll(token), .gone, "the poll")
            let reply = try await b.enter(run.token(), .long(acceptsReuse: true))
            try expectEqual(reply, .lead(attempt: 0), "the next enter")
        },
        Case("a revocation tells the waiters and the leader who did it and why", Self.revocation),
        Case("a revocation of another token, or of nothing, changes nothing") { run in
            let a = try await run.process("a")
            try expectEqual(try await a.revoke(nil), .nothing, "revoking nothing")
            let token = run.token()
            _ = try await a.enter(token)
            try expectEqual(try await a.revoke(run.token()), .nothing, "revoking another token")
            try expectEqual(try await a.renew(token), .renewed(waiters: 0), "the holder's renewal")
            try expectEqual(try await a.revoke(token), .revoked(token, waiters: 0), "revoking the token")
            let revoked = CanceledFlight.revoked(by: "ops", reason: "stuck\nfor 100 %")
            try expectEqual(try await a.renew(token), .lost(reason: revoked), "the renewal after that")
        },
    ]

    private static func revocation(_ run: ConformanceRun) async throws {
        let (a, b, c) = (try await run.process("a"), try await run.process("b"), try await run.process("c"))
        let token = run.token()
        let listeners = [a.listen(), b.listen()]
        _ = try await a.enter(token)
        try await b.follow(token)
        try expectEqual(try await c.revoke(nil), .revoked(token, waiters: 1), "the revocation")
        let outcome = StoredOutcome.canceled(.revoked(by: "ops", reason: "stuck\nfor 100 %"))
        for listener in listeners {
            let announcement = try await listener.next()
            try expectEqual(announcement, Announcement(token: token, news: .outcome(outcome)), "the announcement")
        }
        try expectEqual(try await b.poll(token), .done(outcome), "the poll")
        let reason = CanceledFlight.revoked(by: "ops", reason: "stuck\nfor 100 %")
        try expectEqual(try await a.renew(token), .lost(reason: reason), "the leader's renewal")
        let refused = CompleteReply.stale(current: nil, reason: reason)
        try expectEqual(try await a.complete(token, .value([])), refused, "the leader's completion")
    }
}
