import FaultMatrix
import Foundation

/// Plays the fault matrix, the process cells, successions of flights and the lossy inbox: all of them, or the cells that are named. `make matrix` runs it.
@main
enum MatrixTool {
    static func main() async {
        let arguments = Array(CommandLine.arguments.dropFirst())
        do {
            if arguments.first == "worker" {
                return try await FlightWorker.run(Array(arguments.dropFirst()))
            }
            let isGood = arguments.isEmpty ? try await self.playAll() : try await self.play(arguments)
            exit(isGood ? EXIT_SUCCESS : EXIT_FAILURE)
        } catch {
            FileHandle.standardError.write(Data("\(error)\n".utf8))
            exit(EXIT_FAILURE)
        }
    }

    /// Unbuffered, so that progress shows in a pipe, too.
    private static func say(_ line: String) {
        FileHandle.standardOutput.write(Data((line + "\n").utf8))
    }

    private static func playAll() async throws -> Bool {
        let start = ContinuousClock.now
        func told(_ title: String) {
            self.say("\(title), after \(Int((ContinuousClock.now - start) / .seconds(1))) s\n")
        }
        let network = try await FaultMatrix.play(MatrixCell.all) { self.tell($0, always: false) }
        self.say(MatrixTable(network).markdown)
        told(MatrixTable(network).summary)

        let processes = try await FaultMatrix.play(ProcessCell.all, tool: self.path()) { self.tell($0, always: false) }
        self.say(ProcessTable(processes).markdown)
        told(ProcessTable(processes).summary)

        let successions = try await FaultMatrix.play(OvertakenCell.all, SecondFlightCell.all, tool: self.path()) {
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

    private static func play(_ names: [String]) async throws -> Bool {
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
            try await FaultMatrix.play(network) { self.tell($0, always: true) }
            + (try await FaultMatrix.play(processes, tool: self.path()) { self.tell($0, always: true) })
            + (try await FaultMatrix.play(overtaken, second, tool: self.path()) { self.tell($0, always: true) })
        return reports.allSatisfy { $0.problems.isEmpty }
    }

    /// This program, which workers run, too.
    private static func path() throws -> String {
        guard let path = Bundle.main.executablePath else { throw FaultMatrixError("cannot find the running program") }
        return path
    }

    @Sendable private static func tell(_ report: CellReport, always: Bool) {
        guard always || !report.problems.isEmpty else { return }
        self.say("\(report.cell): \(report.endings) after \(Int(report.waited / .milliseconds(1))) ms")
        guard !report.problems.isEmpty else { return }
        for problem in report.problems { self.say("  \(problem)") }
        self.say("  replay it with: \(report.replay)")
    }
}
