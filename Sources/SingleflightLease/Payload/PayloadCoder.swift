import Singleflight

/// Turns the results of a group's operations into stored outcomes and back.
///
/// A class: every flight holds its group's, and copying what is in it took 2 % of an uncontended flight's time.
package final class PayloadCoder<Value: Sendable>: Sendable {
    let codec: any FlightCodec<Value>
    let typedFailures: TypedFailures?
    let maximumResultBytes: Int
    /// This process's label, for the outcomes that it stores.
    let label: String
    /// Whether the codec decodes payloads of every codec, as a whole.
    private let readsPayloads: Bool

    package init(codec: any FlightCodec<Value>, typedFailures: TypedFailures?, maximumResultBytes: Int, label: String) {
        self.codec = codec
        self.typedFailures = typedFailures
        self.maximumResultBytes = maximumResultBytes
        self.label = label
        self.readsPayloads = (codec as? ErasedCodec)?.readsPayloads ?? false
    }

    /// The longest payload that a quick codec reads in a task that waits for it, in bytes.
    private static var quickBytes: Int { 64 * 1024 }

    /// Whether the outcome of a flight elsewhere can be decoded by a caller's task, which must not be blocked.
    func isQuick(_ end: FlightEnd) -> Bool {
        guard case .followed(_, let outcome, _, _) = end else { return true }
        switch outcome {
        case .value(let bytes):
            return (self.codec.isQuick || Planted.bug("slow-codec-not-kept-off")) && bytes.count <= Self.quickBytes
        case .failure: return self.typedFailures == nil
        case .canceled: return true
        }
    }

    /// Whether a result can be encoded by its operation's task, which must not be blocked.
    func encodesQuickly(_ result: Result<Value, any Error>) -> Bool {
        switch result {
        case .success: self.codec.isQuick
        case .failure: self.typedFailures == nil
        }
    }

    /// A result as everybody else gets it, and as the callers in this process do.
    struct Encoded {
        var outcome: StoredOutcome
        var local: Result<Value, any Error>
    }

    /// - Parameter trace: the leader's span, if it has one.
    func encode(_ result: Result<Value, any Error>, trace: TraceContext? = nil) -> Encoded {
        switch result {
        case .success(let value):
            do {
                let body = try self.codec.encode(value)
                guard body.count <= self.maximumResultBytes || Planted.bug("result-too-large-stored") else {
                    let error = DistributedGroupError(
                        .resultTooLarge,
                        "the encoded result has \(body.count) bytes, the group allows \(self.maximumResultBytes)"
                    )
                    return Encoded(outcome: self.encode(error, trace: trace), local: .failure(error))
                }
                let envelope = Envelope(
                    codec: self.codec.identifier,
                    leader: self.label,
                    trace: trace,
                    body: body
                )
                return Encoded(outcome: .value(envelope.bytes), local: result)
            } catch {
                // The callers here have the value and need no bytes. But what a call comes to must not depend on the
                // host.
                let error = DistributedGroupError(
                    .encodingFailed,
                    "the result could not be encoded: \(error)",
                    underlying: error
                )
                let local: Result<Value, any Error> =
                    Planted.bug("value-here-kept-without-its-bytes") ? result : .failure(error)
                return Encoded(outcome: self.encode(error, trace: trace), local: local)
            }
        case .failure(let error as any GroupFailure):
            return Encoded(outcome: self.encode(error.told, trace: trace), local: .failure(error.told))
        case .failure(let error):
            let (body, told) = self.failure(error)
            let envelope = Envelope(
                codec: ReservedCodec.failure,
                leader: self.label,
                trace: trace,
                body: body.bytes
            )
            if Planted.bug("failure-stored-as-a-value") {
                return Encoded(outcome: .value(envelope.bytes), local: .failure(told))
            }
            return Encoded(outcome: .failure(envelope.bytes), local: .failure(told))
        }
    }

    /// A result as the callers of a flight in this process are told of it, whose operation ran without a lease: nobody
    /// elsewhere is told, but what an error is must not depend on that.
    func local(_ result: Result<Value, any Error>) -> Result<Value, any Error> {
        result.mapError { ($0 as? any GroupFailure)?.told ?? self.failure($0).told }
    }

    private func failure(_ error: any Error) -> (body: FailureBody, told: any Error) {
        let body = FailureBody(
            error,
            typedFailures: self.typedFailures,
            maximumTypedBytes: self.maximumResultBytes
        )
        let told = body.error(leader: self.label, token: nil, original: error, typedFailures: self.typedFailures)
        return (body, told)
    }

    func encode(_ error: DistributedGroupError, trace: TraceContext? = nil) -> StoredOutcome {
        let envelope = Envelope(
            codec: ReservedCodec.groupError,
            leader: self.label,
            trace: trace,
            body: Array("\(error.code)\n\(error.message)".utf8)
        )
        return .failure(envelope.bytes)
    }

    /// A stored result, the label of the process that led, and its span.
    struct Decoded {
        var result: Result<Value, any Error>
        var leader: String?
        var trace: TraceContext?
        /// Whether the result is only the error that says why nothing could be read.
        var isUndecodable = false
    }

    func decode(value bytes: [UInt8]) -> Decoded {
        self.decode(bytes) { envelope, _ in
            let isOwn = envelope.codec == self.codec.identifier
            guard isOwn || self.readsPayloads || Planted.bug("codec-of-a-payload-not-checked") else {
                throw DistributedGroupError(
                    .decodingFailed,
                    "the result was encoded by \(envelope.codec) in \(envelope.leader), this group reads \(self.codec.identifier)"
                )
            }
            do {
                return .success(try self.codec.decode(self.readsPayloads ? bytes : envelope.body))
            } catch {
                throw DistributedGroupError(
                    .decodingFailed,
                    """
                    the result of \(envelope.leader) could not be decoded; does a group of another type of value, or of another \
                    version of the program, have this group's name? \(error)
                    """,
                    underlying: error
                )
            }
        }
    }

    func decode(failure bytes: [UInt8], token: LeaseToken) -> Decoded {
        self.decode(bytes) { envelope, leader in
            switch envelope.codec {
            case ReservedCodec.failure:
                guard let body = FailureBody(bytes: envelope.body) else {
                    throw DistributedGroupError(.decodingFailed, "the failure of \(leader) is truncated")
                }
                return .failure(body.error(leader: leader, token: token, typedFailures: self.typedFailures))
            case ReservedCodec.groupError:
                let text = String(decoding: envelope.body, as: UTF8.self)
                let parts = text.split(separator: "\n", maxSplits: 1, omittingEmptySubsequences: false)
                guard parts.count == 2 else {
                    throw DistributedGroupError(.decodingFailed, "the failure of \(leader) is truncated")
                }
                // Of a kind that only a later version knows, the message is still worth reading.
                guard let code = DistributedGroupError.Code(description: String(parts[0])) else {
                    return .failure(DistributedGroupError(.unknown, "in \(leader): \(parts[0]): \(parts[1])"))
                }
                return .failure(DistributedGroupError(code, "in \(leader): \(parts[1])"))
            default:
                throw DistributedGroupError(
                    .decodingFailed,
                    "the failure of \(leader) is of an unknown kind: \(envelope.codec)"
                )
            }
        }
    }

    private func decode(
        _ bytes: [UInt8],
        _ body: (Envelope, _ leader: String) throws -> Result<Value, any Error>
    ) -> Decoded {
        var (leader, trace): (String?, TraceContext?)
        do {
            let envelope = try Envelope(bytes: bytes)
            (leader, trace) = (envelope.leader, envelope.trace)
            return Decoded(result: try body(envelope, envelope.leader), leader: leader, trace: trace)
        } catch {
            return Decoded(result: .failure(error), leader: leader, trace: trace, isUndecodable: true)
        }
    }
}

/// Codec identifiers that every group uses for its failures.
enum ReservedCodec {
    /// An error that the operation threw.
    static let failure = "failure/1"
    /// An error of the group itself: a code, a line feed, a message.
    static let groupError = "group-error/1"
}
