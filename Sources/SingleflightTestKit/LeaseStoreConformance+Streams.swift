import SingleflightLease

extension LeaseStoreConformance {
    static let streams: [Case] = [
        Case("chunks are stored in order, announced, and read from any place") { run in
            let (a, b) = (try await run.process("a"), try await run.process("b"))
            let token = run.token()
            _ = try await a.enter(token)
            try expectEqual(try await a.append(token, 0, [1]), .stored(waiters: 0), "the first chunk")
            let listener = b.listen()
            try await b.follow(token)
            try expectEqual(try await a.append(token, 1, [2, 2]), .stored(waiters: 1), "the second chunk")
            let news = Announcement(token: token, news: .chunk(StoredChunk(index: 1, bytes: [2, 2])))
            try expectEqual(try await listener.next(), news, "the announcement of the second chunk")
            try expectEqual(try await b.read(token), ReadReply(chunks: [[1], [2, 2]], stored: 2), "all chunks")
            try expectEqual(
                try await b.read(token, from: 1),
                ReadReply(chunks: [[2, 2]], stored: 2),
                "from the second"
            )
            try expectEqual(try await b.read(token, from: 2), ReadReply(chunks: [], stored: 2), "behind the last")
            try expectEqual(
                try await b.read(token, from: .max),
                ReadReply(chunks: [], stored: 2),
                "far behind the last"
            )
            try expectEqual(try await b.read(run.token()), ReadReply(chunks: [], stored: 0), "of another flight")
        },
        Case("a reader gets no more bytes than it asked for, but one chunk at least") { run in
            let a = try await run.process("a")
            let token = run.token()
            _ = try await a.enter(token)
            for index in 0..<20 { _ = try await a.append(token, index, Array(repeating: UInt8(index), count: 10)) }
            func count(_ place: Int, _ bytes: Int) async throws -> Int {
                let reply = try await a.read(token, from: place, maximumBytes: bytes)
                return reply.chunks.count
            }
            try expectEqual(try await count(0, 0), 1, "the chunks in no byte")
            try expectEqual(try await count(0, 39), 3, "the chunks in 39 bytes")
            try expectEqual(try await count(15, 1000), 5, "the last chunks")
            let some = try await a.read(token, from: 7, maximumBytes: 25).chunks
            try expectEqual(some.map(\.first), [7, 8], "their order")
        },
        Case("a chunk that is sent again is stored once; one that leaves a gap is not stored") { run in
            let a = try await run.process("a")
            let token = run.token()
            _ = try await a.enter(token)
            _ = try await a.append(token, 0, [1])
            try expectEqual(try await a.append(token, 0, [1]), .stored(waiters: 0), "the repeated chunk")
            try expectEqual(try await a.append(token, 2, [3]), .broken(stored: 1), "a chunk behind a gap")
            try expectEqual(try await a.append(token, 3, nil), .broken(stored: 1), "keeping what is not there")
            try expectEqual(try await a.append(token, 1, nil), .stored(waiters: 0), "keeping what is there")
            try expectEqual(try await a.read(token), ReadReply(chunks: [[1]], stored: 1), "the chunks")
        },
        Case("without the lease no chunk is stored, and the reason is told if the flight was canceled") { run in
            let (a, b) = (try await run.process("a"), try await run.process("b"))
            let (token, next) = (run.token(), run.token())
            try expectEqual(try await a.append(token, 0, [1]), .lost(), "a chunk of no flight")
            _ = try await a.enter(token)
            try await b.follow(token)
            _ = try await a.append(token, 0, [1])
            _ = try await b.revoke(token)
            let reason = CanceledFlight.revoked(by: "ops", reason: "stuck\nfor 100 %")
            try expectEqual(try await a.append(token, 1, [2]), .lost(reason: reason), "a chunk of a revoked flight")
            _ = try await b.enter(next)
            try expectEqual(try await a.append(token, 1, [2]), .lost(reason: reason), "a chunk beside another leader")
            try expectEqual(try await b.read(token), ReadReply(chunks: [[1]], stored: 1), "what was stored before")
            try expectEqual(try await b.read(next), ReadReply(chunks: [], stored: 0), "the next flight's chunks")
        },
        Case("chunks live as long as their writer or a reader asks for, past the flight's end") { run in
            let a = try await run.process("a")
            let (token, other) = (run.token(), run.token())
            _ = try await a.enter(token)
            _ = try await a.append(token, 0, [1], life: .seconds(3))
            _ = try await a.append(token, 1, nil, life: .seconds(30))
            _ = try await a.complete(token, .value([]))
            _ = try await a.enter(other)
            _ = try await a.append(other, 0, [2], life: .seconds(3))
            try expectEqual(try await a.read(other, life: .seconds(1)).stored, 1, "a reader that asks for less")
            await run.fixture.advance(by: .seconds(3) + .milliseconds(100))
            try expectEqual(try await a.read(token).stored, 1, "the chunks whose life was prolonged")
            try expectEqual(try await a.read(other).stored, 0, "the chunks whose life is over")
            _ = try await a.complete(other, .value([]))
            let last = run.token()
            _ = try await a.enter(last)
            _ = try await a.append(last, 0, [3], life: .seconds(3))
            _ = try await a.read(last, from: .max, life: .seconds(30))
            await run.fixture.advance(by: .seconds(3) + .milliseconds(100))
            try expectEqual(try await a.read(last).stored, 1, "the chunks that a reader keeps")
        },
    ]
}
