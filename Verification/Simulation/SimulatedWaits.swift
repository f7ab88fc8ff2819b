import Singleflight
import SingleflightLease

/// I20: which flights' work waits for which other flights in one process: a model beside what the process knows of it.
final class SimulatedWaits {
    private struct Wait {
        /// The keys of the flights on whose behalf a key is waited for.
        var from: [Int]
        var to: Int
        var wait: FlightWaits.Wait
    }

    private unowned let process: SimulatedProcess
    private let context: FlightContext
    private var waits: [UInt64: Wait] = [:]
    private var begun: UInt64 = 0

    init(_ process: SimulatedProcess, _ context: FlightContext) {
        self.process = process
        self.context = context
    }

    private var simulation: SimulationRun { self.process.simulation }

    private func flightKey(_ key: Int) -> FlightKey { self.simulation.key(key, of: self.process.group) }

    private func name(_ key: Int) -> String {
        GroupError.text(of: String(decoding: self.flightKey(key).bytes, as: UTF8.self))
    }

    /// A flight's work, perhaps inside of another's, begins to wait for a key, unless that waits for it in turn.
    func begin(inside flight: SimulatedFlight, in outer: SimulatedFlight?, for key: Int, lasting duration: Duration) {
        guard let driver = flight.driver else { return }
        var path = driver.path
        if let around = outer?.driver { path = FlightPath.local.withValue(around.path) { driver.path } }
        let enclosing = [flight, outer].compactMap { $0 }
        let from = enclosing.map(\.key).filter { $0 != key }
        let isOwn = enclosing.contains { $0.key == key && $0.driver?.isFinal == false }
        let isCircle = self.reached(from: key).contains { from.contains($0) }
        switch self.context.wait(for: self.flightKey(key), on: path) {
        case .success(let wait):
            if isOwn || isCircle { self.simulation.monitor.violate("I20", "work waits for itself") }
            self.begun += 1
            let id = self.begun
            self.waits[id] = Wait(from: from, to: key, wait: wait)
            self.simulation.scheduler.schedule(after: duration) { self.waits.removeValue(forKey: id)?.wait.end() }
        case .failure(let refusal):
            guard refusal.code == .reentrantCall, isOwn || isCircle else {
                return self.simulation.monitor.violate("I20", "work was refused that closes no circle: \(refusal)")
            }
            if !isOwn { self.check(refusal.path, from: from, to: key) }
        }
    }

    private func reached(from key: Int) -> Set<Int> {
        var reached: Set<Int> = []
        var next = [key]
        while let key = next.popLast() {
            for wait in self.waits.values where wait.from.contains(key) && reached.insert(wait.to).inserted {
                next.append(wait.to)
            }
        }
        return reached
    }

    /// The way leads from one of those that asked over what each waits for, back to it.
    private func check(_ path: [String], from: [Int], to key: Int) {
        let edges = Set(self.waits.values.flatMap { wait in wait.from.map { [self.name($0), self.name(wait.to)] } })
        let isEachAnEdge = zip(path.dropFirst(), path.dropFirst(2)).allSatisfy { edges.contains([$0, $1]) }
        guard path.count > 2, path.first == path.last, from.contains(where: { self.name($0) == path.last }),
            path.dropFirst().first == self.name(key), isEachAnEdge
        else { return self.simulation.monitor.violate("I20", "a caller was told a way that is none: \(path)") }
    }

    /// The process is gone.
    func end() {
        for wait in self.waits.values { wait.wait.end() }
        self.waits = [:]
    }
}
