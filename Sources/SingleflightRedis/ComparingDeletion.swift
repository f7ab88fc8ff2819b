import HiredisClient
import Synchronization

/// By which command a server deletes a key if it holds a given value, which is found out by trying.
///
/// A value without I/O: what was answered comes in, what to send goes out.
struct ComparingDeletion: Sendable {
    /// A command that answers 1 where it has deleted the key, and else 0.
    enum Form: Sendable, Hashable {
        /// `DELIFEQ key value`, of Valkey 9.0.
        case delifeq
        /// `DELEX key IFEQ value`, of Redis 8.4.
        case delex

        func command(_ key: RedisArgument, _ value: RedisArgument) -> RedisCommand {
            switch self {
            case .delifeq: RedisCommand("DELIFEQ", key, value)
            case .delex: RedisCommand("DELEX", key, "IFEQ", value)
            }
        }
    }

    /// What an answer says of a form.
    enum Verdict: Sendable, Hashable {
        case understood
        /// The server does not know the command, or not so, or this user may not use it.
        case refused
        /// There was none, or it is about something else.
        case open
    }

    private enum State {
        /// The form is to be tried next. → trying
        case untried(Form)
        /// A request with the form is under way; all others go by script meanwhile. → known, untried, none
        case trying(Form)
        /// → untried, none
        case known(Form)
        /// Neither form is of use on this connection. On another one the server may be a later one. → trying
        case none(connection: UInt64)
    }

    private var state = State.untried(.delifeq)

    /// Whether a form may be of use on a connection.
    func isPossible(on connection: UInt64) -> Bool {
        if case .none(connection) = self.state { false } else { true }
    }

    /// The form to send a request with; `nil` where it has to go by script. What comes of it is to be told by
    /// ``end(_:_:on:)``.
    mutating func begin(on connection: UInt64) -> Form? {
        switch self.state {
        case .known(let form):
            return form
        case .untried(let form):
            self.state = .trying(form)
            return form
        case .trying, .none(connection):
            return nil
        case .none:
            self.state = .trying(.delifeq)
            return .delifeq
        }
    }

    /// A request with a form was answered, or will not be.
    mutating func end(_ form: Form, _ verdict: Verdict, on connection: UInt64) {
        switch (self.state, verdict) {
        case (.trying(form), .understood):
            self.state = .known(form)
        case (.trying(form), .refused), (.known(form), .refused):
            self.state = form == .delifeq ? .untried(.delex) : .none(connection: connection)
        case (.trying(form), .open):
            self.state = .untried(form)
        case (.untried, _), (.trying, _), (.known, _), (.none, _):
            break
        }
    }
}

extension ComparingDeletion.Verdict {
    init(_ result: Result<RESPValue, RedisClientError>) {
        switch result {
        case .success(.integer):
            self = .understood
        case .success:
            self = .refused
        case .failure(let error):
            guard error.code == .server, let answer = error.serverError else {
                self = .open
                return
            }
            self = answer.isRefusal || answer.code == "ERR" ? .refused : .open
        }
    }
}

/// What was found out of each server that a store sends its requests to.
final class ComparingDeletions: Sendable {
    /// A connection, and of which node of a cluster; `nil` where there is none.
    struct Place: Sendable {
        var node: NodeAddress?
        var connection: UInt64
    }

    private let servers = Mutex<[NodeAddress?: ComparingDeletion]>([:])

    func isPossible(at place: Place) -> Bool {
        self.servers.withLock { $0[place.node, default: ComparingDeletion()].isPossible(on: place.connection) }
    }

    func begin(at place: Place) -> ComparingDeletion.Form? {
        self.servers.withLock { $0[place.node, default: ComparingDeletion()].begin(on: place.connection) }
    }

    func end(_ form: ComparingDeletion.Form, _ verdict: ComparingDeletion.Verdict, at place: Place) {
        self.servers.withLock { $0[place.node, default: ComparingDeletion()].end(form, verdict, on: place.connection) }
    }
}
