import Foundation
import SingleflightLease
import Synchronization

/// Keeps what processes asked a store and were answered, for ``LeaseHistory/violations()`` to judge.
///
/// It is written as JSON, one line when a request is sent and one when it is answered: a line that a process wrote
/// before it was killed still tells what was under way. Histories of several processes on one machine are read
/// together.
public final class LeaseHistory: Sendable {
    private struct State {
        var lines: [HistoryLine] = []
        var sequences: [String: Int] = [:]
        var losses: [HistoryWindow] = []
    }

    /// The time of an event, in nanoseconds.
    private let now: @Sendable () -> Int64
    private let onLine: (@Sendable (String) -> Void)?
    private let keepsLines: Bool
    private let onReply: (@Sendable (_ process: String, HistoryReply) -> Void)?
    private let state = Mutex(State())

    /// Creates an empty history that goes by the time since the machine's start, which all of its processes share.
    ///
    /// - Parameters:
    ///   - keepsLines: whether what is recorded is kept for ``lines`` and ``violations()``; without it, it goes to
    ///     `onLine` only.
    ///   - onLine: gets each line as it is written; the order of the lines is that of the calls.
    public convenience init(keepsLines: Bool = true, onLine: (@Sendable (String) -> Void)? = nil) {
        self.init(now: { Self.sinceStart() }, keepsLines: keepsLines, onLine: onLine)
    }

    /// - Parameter onReply: hears of every answer, before the flight does.
    package convenience init(onReply: @escaping @Sendable (_ process: String, HistoryReply) -> Void) {
        self.init(now: { Self.sinceStart() }, onReply: onReply)
    }

    init(
        now: @escaping @Sendable () -> Int64,
        keepsLines: Bool = true,
        onLine: (@Sendable (String) -> Void)? = nil,
        onReply: (@Sendable (_ process: String, HistoryReply) -> Void)? = nil
    ) {
        self.now = now
        self.keepsLines = keepsLines
        self.onLine = onLine
        self.onReply = onReply
    }

    /// Reads a line that another process wrote; false if it is none of a history.
    @discardableResult
    public func read(_ line: String) -> Bool {
        guard let line = try? JSONDecoder().decode(HistoryLine.self, from: Data(line.utf8)) else { return false }
        self.append(line)
        return true
    }

    func append(_ line: HistoryLine) {
        self.state.withLock { $0.lines.append(line) }
    }

    /// Everything so far, in JSON lines.
    public var lines: [String] {
        self.state.withLock { $0.lines }.compactMap { Self.text(of: $0) }
    }

    /// What in this history no store that keeps its promises could have answered; empty if there is nothing.
    ///
    /// For each key, the requests are put into an order in which a ``LeaseModel`` answers every one as it was answered.
    /// A request whose fate is unknown may have been carried out at any time, or never.
    public func violations() -> [String] {
        let keys = Dictionary(grouping: self.records, by: \.key)
        let losses = self.state.withLock { $0.losses }
        return keys.keys.sorted().compactMap {
            HistoryCheck(key: $0, records: keys[$0] ?? [], losses: losses).violation()
        }
    }

    /// Notes that the store may lose data from now on, any of what it holds at any time, until ``endLoss()``: it is
    /// emptied, evicts keys, or restarts without its data.
    public func beginLoss() {
        self.state.withLock { $0.losses.append(HistoryWindow(earliest: self.now(), latest: .max)) }
    }

    /// Notes that the store keeps again what it holds.
    public func endLoss() {
        self.state.withLock { state in
            guard let last = state.losses.indices.last, state.losses[last].latest == .max else { return }
            state.losses[last].latest = self.now()
        }
    }

    // MARK: - Recording

    /// Notes that a request is about to be sent; answers its sequence number.
    func begin(_ process: String, _ key: FlightKey, _ request: HistoryRequest) -> Int {
        self.append { state, at in
            let sequence = state.sequences[process, default: 0]
            state.sequences[process] = sequence + 1
            return HistoryLine(
                at: at,
                process: process,
                sequence: sequence,
                key: key.description,
                request: request,
                reply: nil
            )
        }
    }

    /// Notes how a request ended.
    func end(_ process: String, _ sequence: Int, _ reply: HistoryReply) {
        _ = self.append { _, at in
            HistoryLine(at: at, process: process, sequence: sequence, key: nil, request: nil, reply: reply)
        }
        self.onReply?(process, reply)
    }

    private func append(_ make: (inout State, Int64) -> HistoryLine) -> Int {
        self.state.withLock { state in
            let line = make(&state, self.now())
            if self.keepsLines { state.lines.append(line) }
            // Under the lock, so that lines come out in the order in which they were made.
            if let onLine, let text = Self.text(of: line) {
                onLine(text)
            }
            return line.sequence
        }
    }

    /// Requests with their ends.
    package var records: [HistoryRecord] {
        var records: [HistoryRecord] = []
        var indices: [String: Int] = [:]
        for line in self.state.withLock({ $0.lines }) {
            let name = "\(line.process) \(line.sequence)"
            if let request = line.request, let key = line.key {
                indices[name] = records.count
                records.append(
                    HistoryRecord(
                        process: line.process,
                        sequence: line.sequence,
                        key: key,
                        request: request,
                        invoked: line.at
                    )
                )
            } else if let index = indices[name], let reply = line.reply {
                records[index].returned = line.at
                records[index].reply = reply
            }
        }
        return records
    }

    private static func text(of line: HistoryLine) -> String? {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return (try? encoder.encode(line)).map { String(decoding: $0, as: UTF8.self) }
    }

    private static func sinceStart() -> Int64 {
        var time = timespec()
        #if os(Linux)
            clock_gettime(CLOCK_BOOTTIME, &time)
        #else
            clock_gettime(CLOCK_MONOTONIC, &time)
        #endif
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }
}
