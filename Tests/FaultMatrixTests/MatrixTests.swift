import FaultMatrix
import Foundation
import TestSupport
import Testing

/// A sample of the matrix, of the process cells and of the lossy inbox; `make matrix` plays all of it.
@Suite("Flights in trouble", .keepsBusy, .serialized, .timeLimit(.minutes(4)))
struct MatrixTests {
    /// Beside the test bundle, where the build puts every product.
    static var tool: String {
        get throws {
            let bundle = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
            return URL(fileURLWithPath: bundle).deletingLastPathComponent().appendingPathComponent("lab").path
        }
    }

    @Test("end for every caller within the bound, with a result or a typed error, and leave nothing behind")
    func network() async throws {
        // Three is prime to the numbers of faults, points, connections and rules: each occurs with many of the others.
        let sample = stride(from: 1, to: MatrixCell.all.count, by: 3).map { MatrixCell.all[$0] }
        for report in try await FaultMatrix.play(sample, atOnce: 12) {
            #expect(report.problems == [], "\(report.replay)")
        }
    }

    @Test("end for everybody else when a process is killed, asked to end, or stopped")
    func processes() async throws {
        let sample = stride(from: 2, to: ProcessCell.all.count, by: 7).map { ProcessCell.all[$0] }
        for report in try await FaultMatrix.play(sample, tool: try Self.tool, atOnce: 6) {
            #expect(report.problems == [], "\(report.replay)")
        }
    }

    @Test("keep a late request from the next flight of their key, and their waiters, too")
    func successions() async throws {
        let reports = try await FaultMatrix.play(
            OvertakenCell.all.filter { $0.point == .complete || ($0.blow == .pause && $0.rule == .takeOver) },
            SecondFlightCell.all,
            tool: try Self.tool,
            atOnce: 7
        )
        for report in reports {
            #expect(report.problems == [], "\(report.replay)")
        }
    }

    @Test("are learned of by every follower, however many announcements are lost")
    func losses() async throws {
        for report in try await FaultMatrix.playLosses(flights: 8) {
            #expect(report.problems == [])
            #expect(report.pushed + report.polled == report.callers)
            if report.share == 0 { #expect(report.pushed > 0) }
            if report.share == 1 { #expect(report.pushed == 0) }
        }
    }

    @Test("have names that can be read back")
    func names() {
        #expect(MatrixCell.all.count == 560)
        #expect(Set(MatrixCell.all.map(\.description)).count == MatrixCell.all.count)
        #expect(MatrixCell.all.allSatisfy { MatrixCell($0.description) == $0 })
        #expect(ProcessCell.all.count == 216)
        #expect(ProcessCell.all.allSatisfy { ProcessCell($0.description) == $0 })
        #expect(OvertakenCell.all.allSatisfy { OvertakenCell($0.description) == $0 })
        #expect(SecondFlightCell.all.allSatisfy { SecondFlightCell($0.description) == $0 })
        #expect(OvertakenCell("overtaken.poll.kill.cancel") == nil)
        #expect(SecondFlightCell("second.lost.cancel") == nil)
        #expect(MatrixCell("renew.command.noSuchFault.cancel") == nil)
        #expect(ProcessCell("announcement.before.kill.cancel") == nil)
    }
}
