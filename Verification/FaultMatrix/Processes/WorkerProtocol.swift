import Foundation

/// What a worker process is told, one line of JSON each.
enum WorkerOrder: Codable, Equatable, Sendable {
    /// Call the group; the operation, if this process leads, lasts until ``finish`` if it is to wait.
    case call(waits: Bool)
    /// Let the operation end.
    case finish
    /// Let the operation draw a fence.
    case drawFence
    /// Let the caller leave.
    case leave
    /// Shut down in good order, whatever is under way.
    case shutDown
    /// Let there be no further descriptors.
    case exhaustDescriptors
    /// Let there be some again.
    case freeDescriptors
    /// Start a child, and tell which descriptors it has.
    case listChildsDescriptors
}

/// What a worker process tells.
enum WorkerEvent: Codable, Sendable {
    /// It is connected; its inbox.
    case ready(inbox: String)
    /// Its operation runs, under this token.
    case began(token: String)
    /// Its caller has its outcome.
    case ended(CallEnd)
    /// A line of its history.
    case history(String)
    /// There are no descriptors to be had; there are again.
    case exhausted
    case freed
    /// A child's descriptors, but for those that the worker itself was started with.
    case childsDescriptors([String])
}

enum WorkerText {
    static func line(_ value: some Encodable) -> String? {
        (try? JSONEncoder().encode(value)).map { String(decoding: $0, as: UTF8.self) }
    }

    static func value<Value: Decodable>(_ type: Value.Type = Value.self, of line: String) -> Value? {
        try? JSONDecoder().decode(type, from: Data(line.utf8))
    }
}
