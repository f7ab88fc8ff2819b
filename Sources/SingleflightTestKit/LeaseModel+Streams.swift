import Singleflight
public import SingleflightLease

/// The chunks of streams.
extension LeaseModel {
    /// See `AppendRequest`.
    public mutating func append(_ request: AppendRequest, now: LeaseInstant) -> AppendReply {
        self.withEntry(request.key, now: now) { entry, announce in
            guard let lease = entry.lease, lease.token == request.token else {
                return .lost(reason: entry.reason(of: request.token))
            }
            var stored = entry.chunks[request.token]?.stored ?? []
            let isRepetition = request.chunk != nil && stored.count == request.index + 1
            guard stored.count == request.index || isRepetition else { return .broken(stored: stored.count) }
            if let chunk = request.chunk, !isRepetition || Planted.bug("repeated-chunk-stored-twice") {
                stored.append(chunk)
                for waiter in entry.waiters {
                    let news = StoredChunk(index: request.index, bytes: chunk.count > 1024 ? nil : chunk)
                    announce(waiter.inbox, Announcement(token: lease.token, news: .chunk(news)))
                }
            }
            if !stored.isEmpty { entry.chunks[request.token] = (stored, now.advanced(by: request.life)) }
            return .stored(waiters: entry.waiters.count)
        }
    }

    /// See `ReadRequest`.
    public mutating func read(_ request: ReadRequest, now: LeaseInstant) -> ReadReply {
        self.withEntry(request.key, now: now) { entry, _ in
            guard let (stored, until) = entry.chunks[request.token] else { return ReadReply(chunks: [], stored: 0) }
            entry.chunks[request.token] = (stored, max(until, now.advanced(by: request.life)))
            var chunks: [[UInt8]] = []
            var bytes = 0
            for chunk in stored.dropFirst(request.from) {
                bytes += chunk.count
                if bytes > request.maximumBytes, !chunks.isEmpty { break }
                chunks.append(chunk)
            }
            return ReadReply(chunks: chunks, stored: stored.count)
        }
    }
}
