import Logging
import NIOCore
import Synchronization

/// Finds the primary by sentinels, and tells when it moved: puts a `SentinelMachine`'s decisions into effect.
///
/// Begins with the first question, and must be shut down.
final class SentinelFinder: RedisFinder {
    private struct State {
        var machine: SentinelMachine
        var waiting: [EventLoopPromise<RedisPlace>] = []
        var watchers: [UInt64: @Sendable (RedisAddress) -> Void] = [:]
        var watcherCount: UInt64 = 0
        var timer: Scheduled<Void>?
        var subscription: ChannelSubscription?
        var isShutDown = false
    }

    private let target: RedisTarget
    private let question: SentinelQuestion
    private let eventLoop: any EventLoop
    private let logger: Logger
    private let state: Mutex<State>
    private let seat: SentinelSeat
    private let end: EventLoopEnd

    init(
        _ deployment: SentinelDeployment,
        _ configuration: RedisClientConfiguration,
        eventLoop: any EventLoop,
        end: EventLoopEnd,
        logger: Logger
    ) {
        target = configuration.target
        question = SentinelQuestion(deployment, configuration)
        self.eventLoop = eventLoop
        self.end = end
        self.logger = logger
        seat = SentinelSeat(question)
        state = Mutex(State(machine: SentinelMachine(sentinels: deployment.sentinels, primary: deployment.primary)))
    }

    // MARK: RedisFinder

    func find(on eventLoop: any EventLoop) -> EventLoopFuture<RedisPlace> {
        let promise = eventLoop.makePromise(of: RedisPlace.self)
        let (actions, isShutDown) = state.withLock { state -> ([SentinelMachine.Action], Bool) in
            guard !state.isShutDown else { return ([], true) }
            state.waiting.append(promise)
            return (state.machine.wanted(), false)
        }
        if isShutDown {
            promise.fail(RedisClientError(.shutDown, "the client is shut down"))
        }
        listen()
        act(on: actions)
        return promise.futureResult
    }

    func failed(_ place: RedisPlace, _ reason: RedisClientError) {
        state.withLock { $0.machine.refuted(place.address) }
    }

    func watch(_ handler: @escaping @Sendable (RedisAddress) -> Void) -> UInt64 {
        state.withLock { state in
            state.watcherCount += 1
            state.watchers[state.watcherCount] = handler
            return state.watcherCount
        }
    }

    func forget(_ watcher: UInt64) {
        _ = state.withLock { $0.watchers.removeValue(forKey: watcher) }
    }

    func shutDown() async {
        let (waiting, timer, subscription) = state.withLock { state in
            state.isShutDown = true
            state.watchers = [:]
            defer { (state.waiting, state.timer, state.subscription) = ([], nil, nil) }
            return (state.waiting, state.timer, state.subscription)
        }
        timer?.cancel()
        for promise in waiting { promise.fail(RedisClientError(.shutDown, "the client is shut down")) }
        await subscription?.shutdown()
    }

    // MARK: Acting

    private func act(on actions: [SentinelMachine.Action]) {
        for action in actions {
            switch action {
            case .ask(let index, let round): ask(index, round)
            case .answer(let result): answer(result)
            case .move(let address): move(to: address)
            case .rest: rest()
            }
        }
    }

    private func ask(_ index: Int, _ round: SentinelMachine.Round) {
        eventLoop.execute { [weak self] in
            guard let self else { return }
            question.ask(index, on: eventLoop) { [weak self] reply in
                guard let self else { return }
                if case .failed(let error) = reply {
                    logger.debug("a sentinel cannot be asked", metadata: metadata(["sf_error": "\(error)"]))
                }
                act(on: state.withLock { $0.machine.replied(index, in: round, reply) })
            }
        }
    }

    private func answer(_ result: Result<RedisAddress, RedisClientError>) {
        let waiting = state.withLock { state in
            defer { state.waiting = [] }
            return state.waiting
        }
        for promise in waiting {
            switch result {
            case .success(let address): promise.succeed(target.place(at: address))
            case .failure(let error): promise.fail(error)
            }
        }
    }

    private func move(to address: RedisAddress) {
        logger.notice("the sentinels tell of another primary", metadata: metadata(["sf_primary": "\(address)"]))
        for watcher in state.withLock({ Array($0.watchers.values) }) { watcher(address) }
    }

    private func rest() {
        let delay = TimeAmount(question.configuration.sentinelInterval * (0.9 + 0.2 * question.configuration.random()))
        let timer = eventLoop.scheduleTask(in: delay) { [weak self] in
            guard let self else { return }
            act(on: state.withLock { $0.machine.tick() })
        }
        let before = state.withLock { state -> Scheduled<Void>? in
            guard !state.isShutDown else { return timer }
            defer { state.timer = timer }
            return state.timer
        }
        before?.cancel()
    }

    private func metadata(_ more: Logger.Metadata) -> Logger.Metadata {
        more.merging(["sf_url": "\(target)"]) { _, new in new }
    }

    // MARK: Announcements

    /// Subscribes to what the sentinels announce, once.
    private func listen() {
        let subscription = state.withLock { state -> ChannelSubscription? in
            guard !state.isShutDown, state.subscription == nil else { return nil }
            var configuration = question.configuration
            configuration.finder = seat
            let subscription = ChannelSubscription(
                channel: "+switch-master",
                configuration: configuration,
                eventLoop: eventLoop,
                end: end,
                logger: logger
            ) { [weak self] event in self?.heard(event) }
            state.subscription = subscription
            return subscription
        }
        subscription?.start()
    }

    private func heard(_ event: ChannelSubscription.Event) {
        switch event {
        case .subscribed:
            // What was announced before was missed.
            act(on: state.withLock { $0.machine.tick() })
        case .message(let bytes):
            let message = String(decoding: bytes, as: UTF8.self)
            act(on: state.withLock { $0.machine.announced(message, by: seat.index) })
        case .disconnected:
            break
        }
    }
}

/// The sentinel whose announcements are heard: the next one, as soon as one fails.
private final class SentinelSeat: RedisFinder {
    private let question: SentinelQuestion
    private let count = Atomic(0)

    init(_ question: SentinelQuestion) {
        self.question = question
    }

    var index: Int { count.load(ordering: .relaxed) % max(question.deployment.sentinels.count, 1) }

    func find(on eventLoop: any EventLoop) -> EventLoopFuture<RedisPlace> {
        guard !question.deployment.sentinels.isEmpty else {
            return eventLoop.makeFailedFuture(RedisClientError(.misconfigured, "there are no sentinels"))
        }
        return eventLoop.makeSucceededFuture(question.place(index))
    }

    func failed(_ place: RedisPlace, _ reason: RedisClientError) {
        count.wrappingAdd(1, ordering: .relaxed)
    }
}
