import Foundation
import PrivateRedis
import Synchronization

/// Copies what a command prints to our own streams as it comes, and records it.
///
/// Pipes, not sockets: a command may open `/dev/stderr` anew, which a socket refuses.
final class OutputPump: Sendable {
    struct Capture: Sendable {
        var recording: CommandRecording
        /// Why some of it did not arrive at our own streams; a reader that is gone is no reason.
        var failure: CommandFailure?
        /// Whether the command was told to end.
        var wasTerminated = false
    }

    private enum Mode {
        /// Until both pipes are closed by everybody who can write into them.
        case copying
        /// Until the pipes hold nothing more: the command is over, and what it left behind need not end.
        case draining
        /// Now, even if nobody takes what we write.
        case stopped
    }

    private struct State {
        var mode = Mode.copying
        /// A byte written into it makes the thread look at the mode; nil once the thread is gone.
        var bell: CInt?
    }

    /// The command's ends of the pipes. Where our two streams are one, as after `2>&1`, so are these: no other way
    /// keeps the order in which the command writes.
    let output: Pipe
    let error: Pipe
    private let isMerged: Bool
    private let recording: CommandRecording
    private let onOutput: OutputHandler

    private let bell: SocketPair
    private let state: Mutex<State>

    /// As much as a pipe can hold on any system: what is read past that after a command's end was written after it.
    private static let drainLimit = 1 << 20
    /// `PIPE_BUF` of Linux, and less than a pipe of macOS has room for when it is writable: a piece does not block.
    private static let pieceLength = 4096

    /// - Parameters:
    ///   - recording: what to add the output to.
    ///   - onOutput: must be short.
    init(
        _ recording: CommandRecording,
        onOutput: @escaping OutputHandler = { _, _ in }
    ) throws {
        self.recording = recording
        self.onOutput = onOutput
        isMerged = StandardStream.areOne
        bell = try SocketPair()
        do {
            output = try Pipe()
            do { error = isMerged ? output : try Pipe() } catch {
                output.close()
                throw error
            }
        } catch {
            bell.closeOurs()
            bell.closeChilds()
            throw error
        }
        state = Mutex(State(bell: bell.childs))
    }

    /// Everything, once it has been copied. To be called once, after the command has its ends of the pipes.
    func capture() async -> Capture {
        _ = close(output.writing)
        if !isMerged { _ = close(error.writing) }
        return await withCheckedContinuation { continuation in
            // It blocks for as long as the command runs.
            Thread.detachNewThread { continuation.resume(returning: self.pump()) }
        }
    }

    /// Closes everything, in place of ``capture()``.
    func discard() {
        output.close()
        if !isMerged { error.close() }
        closeBell()
    }

    /// The command has ended: only what it left in the pipes is still read.
    func drain() { enter(.draining) }

    /// Nothing more is read or written.
    func stop() { enter(.stopped) }

    private func enter(_ mode: Mode) {
        state.withLock { state in
            guard let bell = state.bell else { return }
            if case .stopped = state.mode { return }
            state.mode = mode
            _ = write(bell, "!", 1)
        }
    }

    private var mode: Mode { state.withLock { $0.mode } }

    private func closeBell() {
        let ours = state.withLock { $0.bell.take() }
        if let ours {
            _ = close(ours)
            bell.closeOurs()
        }
    }

    // MARK: The thread

    private struct Source {
        let descriptor: CInt
        let stream: CommandRecording.Stream
        /// Nobody reads our stream any more, or it refuses.
        var isMuted = false
        var drained = 0
        var isOver = false
    }

    private func pump() -> Capture {
        var sources = [Source(descriptor: output.reading, stream: .output)]
        if !isMerged { sources.append(Source(descriptor: error.reading, stream: .error)) }
        var capture = Capture(recording: recording)
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while !sources.isEmpty {
            let mode = mode
            if mode == .stopped { break }
            var requests = sources.map { pollfd(fd: $0.descriptor, events: Int16(POLLIN), revents: 0) }
            requests.append(pollfd(fd: bell.ours, events: Int16(POLLIN), revents: 0))
            let ready = poll(&requests, nfds_t(requests.count), mode == .draining ? 0 : -1)
            if ready < 0, errno == EINTR { continue }
            guard ready > 0 else { break }
            if requests[sources.count].revents != 0 { answerBell() }
            for index in sources.indices where requests[index].revents != 0 {
                let count = read(sources[index].descriptor, &buffer, buffer.count)
                if count < 0, errno == EINTR || errno == EAGAIN { continue }
                if mode == .draining { sources[index].drained += max(count, 0) }
                if count > 0 {
                    let kept = capture.recording.append(buffer[..<count], to: sources[index].stream)
                    if kept > 0 { onOutput(buffer[..<kept], sources[index].stream) }
                    show(buffer[..<count], of: &sources[index], &capture)
                }
                if count <= 0 || sources[index].drained > Self.drainLimit {
                    _ = close(sources[index].descriptor)
                    sources[index].isOver = true
                }
            }
            sources.removeAll(where: \.isOver)
        }
        for source in sources { _ = close(source.descriptor) }
        closeBell()
        return capture
    }

    private func answerBell() {
        var byte: UInt8 = 0
        _ = read(bell.ours, &byte, 1)
    }

    /// Writes to our own stream as long as that takes, but not past ``stop()``.
    private func show(_ bytes: ArraySlice<UInt8>, of source: inout Source, _ capture: inout Capture) {
        let sink = StandardStream(source.stream)
        var rest = bytes
        while !rest.isEmpty, !source.isMuted, mode != .stopped {
            var requests = [
                pollfd(fd: sink.descriptor, events: Int16(POLLOUT), revents: 0),
                pollfd(fd: bell.ours, events: Int16(POLLIN), revents: 0),
            ]
            guard poll(&requests, 2, -1) > 0 else { continue }
            if requests[1].revents != 0 { answerBell() }
            guard requests[0].revents != 0 else { continue }
            do {
                try sink.write(Array(rest.prefix(Self.pieceLength)))
                rest = rest.dropFirst(Self.pieceLength)
            } catch {
                source.isMuted = true
                if !(error is OutputClosed) { capture.failure = CommandFailure(describing: error) }
            }
        }
    }
}

extension OutputPump {
    /// A pipe of which a child gets the end that is given to it, and no other.
    struct Pipe {
        let reading: CInt
        let writing: CInt

        init() throws {
            var ends: [CInt] = [-1, -1]
            guard pipe(&ends) == 0 else {
                throw CommandFailure("cannot make a pipe: \(String(cString: strerror(errno)))")
            }
            // Nothing else is started in the moment before this.
            for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
            (reading, writing) = (ends[0], ends[1])
        }

        func close() {
            _ = Foundation.close(reading)
            _ = Foundation.close(writing)
        }
    }
}
