/// A stored outcome as far as it can be read without the group that it belongs to: for tools.
package enum OpenedOutcome: Hashable, Sendable {
    /// The operation returned; `codec` wrote `body`.
    case value(codec: String, leader: String, body: [UInt8])
    /// The operation threw, or the group could not pass its result on. `typed` is the error itself, where the group has
    /// a rule for its type.
    case failure(message: String, leader: String, typed: [UInt8]? = nil)
    /// No result will come.
    case canceled(CanceledFlight)

    /// - Throws: ``DistributedGroupError`` of the code ``DistributedGroupError/Code/decodingFailed``.
    package init(_ outcome: StoredOutcome) throws(DistributedGroupError) {
        switch outcome {
        case .value(let bytes):
            let envelope = try Envelope(bytes: bytes)
            self = .value(codec: envelope.codec, leader: envelope.leader, body: envelope.body)
        case .failure(let bytes):
            let envelope = try Envelope(bytes: bytes)
            guard envelope.codec == ReservedCodec.failure else {
                self = .failure(message: String(decoding: envelope.body, as: UTF8.self), leader: envelope.leader)
                return
            }
            guard let body = FailureBody(bytes: envelope.body) else {
                throw DistributedGroupError(.decodingFailed, "the failure of \(envelope.leader) is truncated")
            }
            self = .failure(message: "\(body.type): \(body.message)", leader: envelope.leader, typed: body.typed)
        case .canceled(let reason):
            self = .canceled(reason)
        }
    }
}
