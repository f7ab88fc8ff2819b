package import ArgumentParser
import Foundation
import SingleflightCLI

/// Plays the fault matrix, the process cells, successions of flights and the lossy inbox: all of them, or the cells
/// that are named. `make matrix` runs it.
package struct MatrixCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "matrix",
        abstract: "Play flights in every kind of trouble, in this process and in others."
    )

    @Argument(help: "The cells to play instead of all.")
    var cells: [String] = []

    @Flag(help: "Play named cells of the network with a process that finds its server by a sentinel.")
    var sentinel = false

    package init() {}

    package func run() async throws {
        let isGood = cells.isEmpty ? try await Self.playAll() : try await Self.play(cells, sentinel)
        guard isGood else { throw ExitCode.failure }
    }

    /// Unbuffered, so that progress shows in a pipe, too.
    private static func say(_ line: String) {
        FileHandle.standardOutput.write(Data((line + "\n").utf8))
    }

    private static func playAll() async throws -> Bool {
        let start = ContinuousClock.now
        let tool = try ChildProcess.ownExecutable()
        func told(_ title: String) {
            self.say("\(title), after \(Int((ContinuousClock.now - start) / .seconds(1))) s\n")
        }
        let network = try await FaultMatrix.play(MatrixCell.all) { self.tell($0, always: false) }
        self.say(MatrixTable(network).markdown)
        told(MatrixTable(network).summary)

        let processes = try await FaultMatrix.play(ProcessCell.all, tool: tool) { self.tell($0, always: false) }
        self.say(ProcessTable(processes).markdown)
        told(ProcessTable(processes).summary)

        let successions = try await FaultMatrix.play(OvertakenCell.all, SecondFlightCell.all, tool: tool) {
            self.tell($0, always: false)
        }
        self.say(SuccessionTable(successions).markdown)
        told(SuccessionTable(successions).summary)

        let losses = try await FaultMatrix.playLosses(flights: 50)
        self.say("| lost | followers | by push | by asking | longest wait |\n|---|---|---|---|---|")
        for report in losses {
            self.say(report.markdown)
            for problem in report.problems { self.say("  \(problem)") }
        }
        told("\nlosses")
        return (network + processes + successions).allSatisfy { $0.problems.isEmpty }
            && losses.allSatisfy { $0.problems.isEmpty }
    }

    private static func play(_ names: [String], _ isBehindSentinel: Bool) async throws -> Bool {
        // Workers run this program, too.
        let tool = try ChildProcess.ownExecutable()
        var network: [MatrixCell] = []
        var processes: [ProcessCell] = []
        var overtaken: [OvertakenCell] = []
        var second: [SecondFlightCell] = []
        for name in names {
            if let cell = MatrixCell(name) {
                network.append(cell)
            } else if let cell = ProcessCell(name) {
                processes.append(cell)
            } else if let cell = OvertakenCell(name) {
                overtaken.append(cell)
            } else if let cell = SecondFlightCell(name) {
                second.append(cell)
            } else {
                throw FaultMatrixError("no cell is called \(name)")
            }
        }
        let reports =
            try await FaultMatrix.play(network, isBehindSentinel: isBehindSentinel) { self.tell($0, always: true) }
            + (try await FaultMatrix.play(processes, tool: tool) { self.tell($0, always: true) })
            + (try await FaultMatrix.play(overtaken, second, tool: tool) { self.tell($0, always: true) })
        return reports.allSatisfy { $0.problems.isEmpty }
    }

    @Sendable private static func tell(_ report: CellReport, always: Bool) {
        guard always || !report.problems.isEmpty else { return }
        self.say("\(report.cell): \(report.endings) after \(Int(report.waited / .milliseconds(1))) ms")
        guard !report.problems.isEmpty else { return }
        for problem in report.problems { self.say("  \(problem)") }
        self.say("  replay it with: \(report.replay)")
    }
}

/// A worker process of the matrix.
package struct MatrixWorkerCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(commandName: "matrix-worker", shouldDisplay: false)

    @Argument(help: "URL, group and rule.")
    var plan: [String]

    package init() {}

    package func run() async throws { try await FlightWorker.run(plan) }
}
