import HiredisClient
import Logging
import PrivateRedis
import SingleflightRedis
import Synchronization
import TestSupport

/// A private Redis with somebody who can bring it into a state and out of it, whatever the state is.
final class ServerStage: Sendable {
    static let administrator = "operator on >pw ~* &* +@all"
    static let worker = "worker on >pw ~* &* +@all"

    let redis: PrivateRedis
    let stay: ServerState.Stay
    /// Connected from the start, so that it is not kept out by what keeps others out.
    private let operatorClient: RedisClient
    /// Sends what occupies the server, so that the operator's own commands do not queue behind it.
    private let occupant: RedisClient
    private let background = Mutex<[Task<Void, Never>]>([])

    private init(redis: PrivateRedis, stay: ServerState.Stay) throws {
        self.redis = redis
        self.stay = stay
        var url = try RedisURL(redis.url)
        url.user = "operator"
        url.password = .init("pw")
        var configuration = RedisClientConfiguration(url: url)
        configuration.requiresPrimary = false
        configuration.commandTimeout = .seconds(30)
        configuration.pingInterval = .seconds(60)
        self.operatorClient = RedisClient(configuration: configuration, logger: Logger(label: "operator"))
        self.occupant = RedisClient(configuration: configuration, logger: Logger(label: "occupant"))
    }

    static func with<Result>(
        _ redis: PrivateRedis,
        stay: ServerState.Stay,
        _ body: (ServerStage) async throws -> Result
    ) async throws -> Result {
        let stage = try ServerStage(redis: redis, stay: stay)
        stage.operatorClient.start()
        stage.occupant.start()
        do {
            try await stage.operatorClient.connected(within: .seconds(20))
            try await stage.occupant.connected(within: .seconds(20))
            let result = try await body(stage)
            await stage.leave()
            return result
        } catch {
            await stage.leave()
            throw error
        }
    }

    private func leave() async {
        await self.endBackground()
        await self.operatorClient.shutdown()
        await self.occupant.shutdown()
    }

    /// What the processes connect to.
    func url(_ login: ServerState.Login) -> String {
        switch login {
        case .anyone: self.redis.url
        case .worker: self.redis.url.replacing("redis+unix://", with: "redis+unix://worker:pw@")
        }
    }

    /// How long a state lasts that ends by itself, in milliseconds.
    var milliseconds: Int { Int(self.stay.duration / .milliseconds(1)) }

    /// Cuts all connections but the operator's.
    func cutOff() async throws {
        try await self.ask("CLIENT KILL TYPE normal")
        try await self.ask("CLIENT KILL TYPE pubsub")
    }

    // MARK: - Orders

    /// Sends a command given as one line; what is in quotation marks is one argument.
    @discardableResult
    func ask(_ line: String) async throws -> RESPValue {
        try await self.operatorClient.send(Self.command(line))
    }

    /// Sends a command that occupies the server, and does not wait for its answer.
    func occupy(_ words: [String]) {
        let command = RedisCommand(words[0], arguments: words.dropFirst().map { .string($0) })
        self.occupant.send(command, timeout: .seconds(60)) { _ in }
    }

    /// Sends a command over and over, until ``endBackground()``.
    func keepAsking(_ lines: String...) {
        let task = Task {
            while !Task.isCancelled {
                for line in lines { _ = try? await self.ask(line) }
                // The pace of the trouble; nothing waits for it.
                try? await Task.sleep(for: .milliseconds(15))
            }
        }
        self.background.withLock { $0.append(task) }
    }

    func endBackground() async {
        let tasks = self.background.withLock { tasks in
            defer { tasks = [] }
            return tasks
        }
        for task in tasks {
            task.cancel()
            await task.value
        }
    }

    /// Asks until the answer, errors included, is as wished.
    func ask(_ line: String, until isAsWished: @Sendable (String) -> Bool) async throws {
        try await until("another answer to \(line)") {
            do {
                let reply = try await self.ask(line)
                return isAsWished(reply.string ?? "\(reply)")
            } catch {
                return isAsWished("\(error)")
            }
        }
    }

    func field(_ field: String, ofInfo section: String) async throws -> String? {
        let info = try await self.ask("INFO \(section)").string ?? ""
        let line = info.split(whereSeparator: \.isNewline).first { $0.hasPrefix("\(field):") }
        return line.map { String($0.dropFirst(field.count + 1)) }
    }

    private static func command(_ line: String) -> RedisCommand {
        let parts = line.split(separator: "\"", omittingEmptySubsequences: false).enumerated()
        let words = parts.flatMap { index, part in
            index.isMultiple(of: 2) ? part.split(separator: " ").map { String($0) } : [String(part)]
        }
        return RedisCommand(words[0], arguments: words.dropFirst().map { .string($0) })
    }
}
