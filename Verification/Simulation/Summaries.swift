import SingleflightLease

// How things are called in a trace: shortly.

extension LeaseToken {
    package var short: String { String(self.description.prefix(6)) }
}

extension Announcement {
    package var summary: String {
        switch self.news {
        case .outcome(let outcome): "\(self.token.short) \(outcome.summary)"
        case .hint: "\(self.token.short) hint"
        case .unawaited: "\(self.token.short) unawaited"
        case .progress(let progress): "\(self.token.short) progress \(progress.message)"
        case .chunk(let chunk): "\(self.token.short) chunk \(chunk.index)\(chunk.bytes == nil ? ", not here" : "")"
        }
    }
}

extension StoredOutcome {
    package var summary: String {
        switch self {
        case .value(let bytes): "value(\(String(decoding: bytes.prefix(6), as: UTF8.self)))"
        case .failure(let bytes): "failure(\(String(decoding: bytes.prefix(6), as: UTF8.self)))"
        case .canceled(let reason): "canceled(\(reason))"
        }
    }
}

extension Result where Failure == LeaseStoreError {
    var summary: String {
        switch self {
        case .success(let reply): String(describing: reply)
        case .failure(let error): "error \(error)"
        }
    }
}
