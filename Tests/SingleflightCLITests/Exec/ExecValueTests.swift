import ArgumentParser
import Testing

@testable import SingleflightCLI

@Suite("What exec is made of")
struct ExecValueTests {
    private static func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

    @Test("a recording keeps the order in which two streams were heard, and joins what belongs together")
    func order() {
        var recording = CommandRecording()
        recording.append(Self.bytes("a"), to: .output)
        recording.append(Self.bytes("b"), to: .output)
        recording.append(Self.bytes("c"), to: .error)
        recording.append(Self.bytes("d"), to: .output)
        #expect(recording.chunks.map(\.bytes) == ["ab", "c", "d"].map(Self.bytes))
        #expect(recording.chunks.map(\.stream) == [.output, .error, .output])
        #expect(!recording.isTruncated)
    }

    @Test("a recording that is full keeps a beginning without holes, and counts its framing")
    func truncation() {
        var recording = CommandRecording(limit: 20)
        recording.append(Self.bytes("0123456789"), to: .output)
        recording.append(Self.bytes("x"), to: .error)
        #expect(recording.chunks.map(\.bytes) == ["0123456789"].map(Self.bytes))
        #expect(recording.isTruncated)
        recording.append(Self.bytes("y"), to: .output)
        #expect(recording.chunks.map(\.bytes) == ["0123456789"].map(Self.bytes))
    }

    @Test("a recording survives the way through bytes", arguments: [0, 7, 137, -1] as [Int32], [8, 1 << 20])
    func codec(_ status: Int32, _ limit: Int) throws {
        var recording = CommandRecording(status: status, limit: limit)
        recording.append(Self.bytes("out\0put"), to: .output)
        recording.append(Self.bytes("error"), to: .error)
        #expect(try RecordingCodec().decode(RecordingCodec().encode(recording)) == recording)
    }

    @Test("a damaged recording is an error wherever it is cut, but between two chunks")
    func damage() throws {
        var recording = CommandRecording()
        recording.append(Self.bytes("one"), to: .output)
        recording.append(Self.bytes("two"), to: .error)
        let bytes = RecordingCodec().encode(recording)
        for length in bytes.indices where length != 18 && length != 26 {
            #expect(throws: RecordingCodec.Malformed.self) { try RecordingCodec().decode(Array(bytes[..<length])) }
        }
        #expect(throws: RecordingCodec.Malformed.self) { try RecordingCodec().decode(bytes + [9, 0, 0, 0, 0]) }
    }

    @Test("the longest recording fits into what a group may share")
    func longest() {
        var recording = CommandRecording()
        recording.append([UInt8](repeating: 0, count: CommandRecording.limit + 1), to: .output)
        #expect(recording.isTruncated)
        #expect(RecordingCodec().encode(recording).count + 600 <= RecordingCodec.maximumResultBytes)
    }

    @Test(
        "durations are read with their unit",
        arguments: [
            ("500ms", Duration.milliseconds(500)), ("10s", .seconds(10)), ("5m", .seconds(300)),
            ("2min", .seconds(120)),
            ("1h", .seconds(3600)), ("1.5h", .seconds(5400)), ("1d", .seconds(86_400)), ("0s", .zero),
        ]
    )
    func durations(_ text: String, _ duration: Duration) {
        #expect(DurationArgument(argument: text)?.duration == duration)
    }

    @Test(
        "what is no duration is refused",
        arguments: ["", "10", "s", "-1s", "1 s", "1e9s", "1.2.3s", "nan", "inf", "99999999d", "10sec"]
    )
    func noDurations(_ text: String) {
        #expect(DurationArgument(argument: text) == nil)
    }

    @Test("while it waits a signal makes exec leave, once")
    func leaving() {
        var phase = ExecPhase()
        let actions = [
            phase.signaled(1, .informs), phase.signaled(20, .stops), phase.signaled(15, .ends),
            phase.signaled(15, .ends),
        ]
        #expect(actions == [.none, .stop, .leave, .none])
        #expect(phase.departure == .signal(15))
        let mayLead = phase.lead()
        let isLeavingAgain = phase.waitedLongEnough()
        #expect(!mayLead && !isLeavingAgain)
    }

    @Test("a leader's patience has no end, and the command gets the signals, those that came too early included")
    func leading() {
        var phase = ExecPhase()
        let mayLead = phase.lead()
        let isLeaving = phase.waitedLongEnough()
        #expect(mayLead && !isLeaving)
        let early = phase.signaled(15, .ends)
        let signals = phase.started()
        let running = phase.signaled(2, .ends)
        phase.ended()
        let late = phase.signaled(2, .ends)
        #expect([early, running, late] == [.none, .forward, .none])
        #expect(signals == [15])
        #expect(phase.hasLed)
        #expect(phase.departure == nil)
    }
}
