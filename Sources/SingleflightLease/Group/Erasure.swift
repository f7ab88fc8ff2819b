/// A key of any group: the bytes that stand for it in the store, which is where keys are told apart.
struct ErasedKey: FlightKeyConvertible, CustomStringConvertible {
    let flightKeyBytes: [UInt8]

    init(_ key: some FlightKeyConvertible) {
        self.flightKeyBytes = key.flightKeyBytes
    }

    /// All bytes at once: an array hashes them one by one.
    func hash(into hasher: inout Hasher) {
        self.flightKeyBytes.withUnsafeBytes { hasher.combine(bytes: $0) }
    }

    /// As text, with bytes that are not UTF-8 replaced.
    var description: String { String(decoding: self.flightKeyBytes, as: UTF8.self) }
}

/// A value of any group.
struct ErasedValue: Sendable {
    private let base: any Sendable

    init(_ value: some Sendable) {
        self.base = value
    }

    /// The value, to the group that it is of.
    func value<Value: Sendable>(as type: Value.Type = Value.self) throws(DistributedGroupError) -> Value {
        guard let value = self.base as? Value else {
            // A group gets what its own operations returned and its own codec read.
            throw DistributedGroupError(.decodingFailed, "a value of another type than \(type)")
        }
        return value
    }
}

/// The codec of any group.
struct ErasedCodec: FlightCodec {
    let identifier: String
    private let encoding: @Sendable (ErasedValue) throws -> [UInt8]
    private let decoding: @Sendable ([UInt8]) throws -> ErasedValue

    init<Value>(_ codec: some FlightCodec<Value>) {
        self.identifier = codec.identifier
        self.encoding = { try codec.encode($0.value(as: Value.self)) }
        self.decoding = { ErasedValue(try codec.decode($0)) }
    }

    func encode(_ value: ErasedValue) throws -> [UInt8] { try self.encoding(value) }

    func decode(_ bytes: [UInt8]) throws -> ErasedValue { try self.decoding(bytes) }
}

extension DistributedOutcome {
    /// The outcome as the group's callers see it.
    init(_ outcome: DistributedOutcome<ErasedValue>) {
        switch outcome {
        case .complete(let completion): self = .complete(DistributedCompletion(completion))
        case .canceled(let reason): self = .canceled(reason)
        }
    }
}

extension DistributedCompletion {
    fileprivate init(_ completion: DistributedCompletion<ErasedValue>) {
        self.init(
            result: completion.result.flatMap { value in Result { try value.value() } },
            isShared: completion.isShared,
            role: completion.role,
            source: completion.source,
            token: completion.token,
            leader: completion.leader,
            waited: completion.waited,
            attempts: completion.attempts,
            coordination: completion.coordination
        )
    }
}
