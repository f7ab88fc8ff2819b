import NIOCore

/// One direction of a connection: passes bytes on, in order, at a pace. Lives on its channel's event loop.
final class Lane {
    enum Pace {
        case immediate
        /// All that comes from now on is late by so much at most; by exactly so much if it is not random.
        case late(Duration, isRandom: Bool)
        /// Byte by byte.
        case slices
        /// Nothing arrives, ever.
        case lost
        /// Nothing arrives for now.
        case held
    }

    private let channel: any Channel
    private var queue: [(due: NIODeadline, bytes: [UInt8])] = []
    private var isWaiting = false
    private(set) var pace = Pace.immediate

    init(_ channel: any Channel) {
        self.channel = channel
    }

    func set(_ pace: Pace) {
        self.pace = pace
        self.pump()
    }

    func send(_ bytes: [UInt8]) {
        let now = self.channel.eventLoop.now
        switch self.pace {
        case .lost:
            return
        case .immediate, .held:
            self.queue.append((now, bytes))
        case .late(let delay, let isRandom):
            let due = now + TimeAmount(isRandom ? delay * Double.random(in: 0...1) : delay)
            self.queue.append((max(due, self.queue.last?.due ?? due), bytes))
        case .slices:
            self.queue += bytes.map { (now, [$0]) }
        }
        self.pump()
    }

    /// Writes what is due. Slices are written in turns of the event loop of their own, so that they arrive as such.
    private func pump() {
        if case .held = self.pace { return }
        guard !self.isWaiting else { return }
        while let next = self.queue.first {
            let now = self.channel.eventLoop.now
            guard next.due <= now else { return self.wait(until: next.due) }
            self.channel.writeAndFlush(ByteBuffer(bytes: next.bytes), promise: nil)
            self.queue.removeFirst()
            if case .slices = self.pace, !self.queue.isEmpty { return self.wait(until: now) }
        }
    }

    private func wait(until deadline: NIODeadline) {
        self.isWaiting = true
        self.channel.eventLoop.assumeIsolated().scheduleTask(deadline: deadline) {
            self.isWaiting = false
            self.pump()
        }
    }
}
