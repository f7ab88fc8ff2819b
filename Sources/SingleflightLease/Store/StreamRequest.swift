/// A request to store the next chunk of a flight's stream, or to keep those that are stored.
///
/// The store keeps the chunks of a token in their order, and accepts one more as long as the lease is held under the
/// token, even past its expiry as long as nobody noticed. A chunk is stored before it is announced to the waiters. All
/// chunks are kept for `life` from now on. A store that has no room for the chunk answers with an error of the code
/// ``LeaseStoreError/Code/full``, and nothing has changed.
public struct AppendRequest: Sendable {
    /// The flight's key.
    public var key: FlightKey
    /// The token under which the lease is held.
    public var token: LeaseToken
    /// The number of chunks before this one: what makes a repetition of the request known as such.
    public var index: Int
    /// The chunk; `nil` to prolong the life of those that are stored.
    public var chunk: [UInt8]?
    /// How long all chunks are kept from now on, unless that is prolonged.
    public var life: Duration

    /// Creates a request.
    public init(key: FlightKey, token: LeaseToken, index: Int, chunk: [UInt8]?, life: Duration) {
        self.key = key
        self.token = token
        self.index = index
        self.chunk = chunk
        self.life = life
    }
}

/// The answer to ``AppendRequest``.
public enum AppendReply: Hashable, Sendable {
    /// The chunk is stored, by this request or by an earlier sending of it; the number of processes that wait.
    case stored(waiters: Int)
    /// The lease is held under another token, or not at all; why the flight was canceled, if it was, as long as that is
    /// kept.
    case lost(reason: CanceledFlight? = nil)
    /// The store holds another number of chunks than there were before this one: it has lost some.
    case broken(stored: Int)
}

/// A request to read chunks of a flight's stream, whether the flight runs or has ended.
public struct ReadRequest: Sendable {
    /// The flight's key.
    public var key: FlightKey
    /// The flight.
    public var token: LeaseToken
    /// The number of chunks to leave out.
    public var from: Int
    /// How many bytes to answer at most; the first chunk is answered however long it is.
    public var maximumBytes: Int
    /// How long all chunks are kept from now on at least.
    public var life: Duration

    /// Creates a request.
    public init(key: FlightKey, token: LeaseToken, from: Int, maximumBytes: Int, life: Duration) {
        self.key = key
        self.token = token
        self.from = from
        self.maximumBytes = maximumBytes
        self.life = life
    }
}

/// The answer to ``ReadRequest``.
public struct ReadReply: Hashable, Sendable {
    /// The chunks from the place that was asked for.
    public var chunks: [[UInt8]]
    /// How many chunks the store holds of the flight; none where it has lost them, or their life is over.
    public var stored: Int

    /// Creates a reply.
    public init(chunks: [[UInt8]], stored: Int) {
        self.chunks = chunks
        self.stored = stored
    }
}

/// News of a flight's stream: one more chunk is stored.
public struct StoredChunk: Hashable, Sendable {
    /// The number of chunks before it.
    public var index: Int
    /// The chunk, if it is short enough to be told.
    public var bytes: [UInt8]?

    /// Creates news.
    public init(index: Int, bytes: [UInt8]?) {
        self.index = index
        self.bytes = bytes
    }
}

extension AppendRequest: LeaseRequestBody {
    /// The request as a store takes it.
    public var request: LeaseRequest { .append(self) }

    /// The answer in a store's reply.
    public static func reply(in reply: LeaseReply) -> AppendReply? {
        if case .append(let reply) = reply { reply } else { nil }
    }
}

extension ReadRequest: LeaseRequestBody {
    /// The request as a store takes it.
    public var request: LeaseRequest { .read(self) }

    /// The answer in a store's reply.
    public static func reply(in reply: LeaseReply) -> ReadReply? {
        if case .read(let reply) = reply { reply } else { nil }
    }
}
