import NIOCore
import Testing

@testable import HiredisClient

/// The value where expectations may change it.
private final class Machine {
    private var value = TopologyMachine()
    private var generator = SystemRandomNumberGenerator()

    var known: ClusterTopology? { value.known }
    var isAsking: Bool { value.isAsking }

    func want(now: NIODeadline, random: Double) -> NIODeadline? { value.want(now: now, random: random) }

    func begin(_ candidates: TopologyMachine.Candidates, now: NIODeadline) -> NodeAddress? {
        value.begin(candidates, now: now, using: &generator)
    }

    func answered(_ topology: ClusterTopology?, now: NIODeadline, random: Double) -> TopologyMachine.Step? {
        value.answered(topology, now: now, random: random)
    }

    func moved(_ slot: HashSlot, to node: NodeAddress) -> Bool { value.moved(slot, to: node) }

    func shutDown() { value.shutDown() }
}

/// When a cluster is asked for its topology, whom of it, and what is believed.
@Suite("The topology of a cluster, as it is learned")
struct TopologyMachineTests {
    private static func node(_ number: Int) -> NodeAddress { NodeAddress(host: "node", port: number) }

    private static func time(_ milliseconds: Int64) -> NIODeadline {
        .uptimeNanoseconds(0) + .milliseconds(milliseconds)
    }

    private static let slot = HashSlot(of: "key")

    /// All slots are with one node.
    private static func topology(of owner: Int, told by: Int = 1, epoch: Int64? = 5) -> ClusterTopology {
        var topology = ClusterTopology(source: node(by))
        topology.assign(0...(HashSlot.count - 1), to: node(owner))
        topology.epoch = epoch
        return topology
    }

    private func isAdopted(_ step: TopologyMachine.Step?) -> ClusterTopology? {
        if case .adopt(let topology, _) = step { topology } else { nil }
    }

    @Test("one refresh is under way at a time, and a wish in the middle of it leads to another one")
    func oneAtATime() {
        let machine = Machine()
        let candidates = TopologyMachine.Candidates(seeds: [Self.node(1)])
        #expect(machine.want(now: Self.time(0), random: 0.5) == Self.time(0))
        #expect(machine.begin(candidates, now: Self.time(0)) == Self.node(1))
        #expect(machine.begin(candidates, now: Self.time(0)) == nil)
        #expect(machine.want(now: Self.time(1), random: 0.5) == nil)
        let step = machine.answered(Self.topology(of: 1), now: Self.time(2), random: 0.5)
        // Soon, and not only after the period.
        #expect(step == .adopt(Self.topology(of: 1), next: Self.time(102)))
    }

    @Test("between two refreshes is a floor that grows as long as they bring no news, with jitter")
    func floor() throws {
        let machine = Machine()
        let candidates = TopologyMachine.Candidates(seeds: [Self.node(1)])
        var now = Self.time(0)
        var pauses: [TimeAmount] = []
        for _ in 0..<6 {
            _ = machine.begin(candidates, now: now)
            _ = machine.answered(Self.topology(of: 1), now: now, random: 0.5)
            let next = try #require(machine.want(now: now, random: 0.5))
            pauses.append(next - now)
            now = next
        }
        #expect(pauses == [100, 200, 400, 800, 800, 800].map { .milliseconds($0) })
        let (early, late) = (machine.want(now: now, random: 0), machine.want(now: now, random: 1))
        let isEarlier = try #require(early) < (try #require(late))
        #expect(isEarlier)
    }

    @Test("connected nodes are asked first, in any order, then the seeds, then the others, each once")
    func order() {
        var firsts: Set<NodeAddress> = []
        for _ in 0..<64 {
            let machine = Machine()
            let candidates = TopologyMachine.Candidates(
                connected: [Self.node(1), Self.node(2)],
                seeds: [Self.node(2), Self.node(3)],
                others: [Self.node(4)]
            )
            var asked = [machine.begin(candidates, now: Self.time(0))]
            while case .ask(let node) = machine.answered(nil, now: Self.time(1), random: 0.5) { asked.append(node) }
            #expect(Set(asked.prefix(2)) == [Self.node(1), Self.node(2)])
            #expect(asked.dropFirst(2) == [Self.node(3), Self.node(4)])
            if let first = asked[0] { firsts.insert(first) }
            #expect(!machine.isAsking)
        }
        #expect(firsts.count == 2)
    }

    @Test("where all nodes are gone, the seeds tell of new ones")
    func seeds() {
        let machine = Machine()
        _ = machine.begin(.init(seeds: [Self.node(9)]), now: Self.time(0))
        _ = machine.answered(Self.topology(of: 1, epoch: 5), now: Self.time(0), random: 0.5)
        // Nobody is connected any more.
        let candidates = TopologyMachine.Candidates(seeds: [Self.node(9)], others: [Self.node(1)])
        #expect(machine.begin(candidates, now: Self.time(500)) == Self.node(9))
        let step = machine.answered(Self.topology(of: 7, told: 9, epoch: 6), now: Self.time(501), random: 0.5)
        #expect(isAdopted(step)?.owner(of: Self.slot) == Self.node(7))
    }

    @Test("a node that is behind is not believed as long as another one is not")
    func minority() {
        let machine = Machine()
        let candidates = TopologyMachine.Candidates(connected: [Self.node(1), Self.node(2)])
        _ = machine.begin(candidates, now: Self.time(0))
        _ = machine.answered(Self.topology(of: 1, epoch: 6), now: Self.time(0), random: 0.5)
        _ = machine.begin(candidates, now: Self.time(500))
        let behind = machine.answered(Self.topology(of: 3, epoch: 5), now: Self.time(500), random: 0.5)
        guard case .ask = behind else {
            Issue.record("believed: \(String(describing: behind))")
            return
        }
        let step = machine.answered(Self.topology(of: 2, epoch: 6), now: Self.time(501), random: 0.5)
        #expect(isAdopted(step)?.owner(of: Self.slot) == Self.node(2))
    }

    @Test("where all of them are behind, the one that is least so is believed: it is another cluster")
    func anotherCluster() {
        let machine = Machine()
        let candidates = TopologyMachine.Candidates(connected: [Self.node(1), Self.node(2)])
        _ = machine.begin(candidates, now: Self.time(0))
        _ = machine.answered(Self.topology(of: 1, epoch: 60), now: Self.time(0), random: 0.5)
        _ = machine.begin(candidates, now: Self.time(500))
        _ = machine.answered(Self.topology(of: 3, epoch: 4), now: Self.time(500), random: 0.5)
        let step = machine.answered(Self.topology(of: 4, epoch: 3), now: Self.time(501), random: 0.5)
        #expect(isAdopted(step)?.owner(of: Self.slot) == Self.node(3))
    }

    @Test("a node that knows of no slots is not believed as long as another one knows some")
    func empty() {
        let machine = Machine()
        let candidates = TopologyMachine.Candidates(seeds: [Self.node(1), Self.node(2)])
        _ = machine.begin(candidates, now: Self.time(0))
        let nothing = ClusterTopology(source: Self.node(1))
        guard case .ask = machine.answered(nothing, now: Self.time(0), random: 0.5) else {
            Issue.record("believed")
            return
        }
        #expect(isAdopted(machine.answered(Self.topology(of: 2), now: Self.time(0), random: 0.5)) != nil)
    }

    @Test("a move that a redirection told stands until a later epoch is told")
    func moves() {
        let machine = Machine()
        let candidates = TopologyMachine.Candidates(seeds: [Self.node(1)])
        _ = machine.begin(candidates, now: Self.time(0))
        _ = machine.answered(Self.topology(of: 1, epoch: 5), now: Self.time(0), random: 0.5)
        #expect(machine.moved(Self.slot, to: Self.node(2)))
        #expect(!machine.moved(Self.slot, to: Self.node(2)))
        #expect(machine.known?.owner(of: Self.slot) == Self.node(2))
        // A node that has not heard of it yet.
        _ = machine.begin(candidates, now: Self.time(500))
        _ = machine.answered(Self.topology(of: 1, epoch: 5), now: Self.time(500), random: 0.5)
        #expect(machine.known?.owner(of: Self.slot) == Self.node(2))
        _ = machine.begin(candidates, now: Self.time(2000))
        _ = machine.answered(Self.topology(of: 3, epoch: 6), now: Self.time(2000), random: 0.5)
        #expect(machine.known?.owner(of: Self.slot) == Self.node(3))
    }

    @Test("nobody answers: it is tried again, later and later")
    func failure() {
        let machine = Machine()
        let candidates = TopologyMachine.Candidates(seeds: [Self.node(1)])
        var pauses: [NIODeadline] = []
        for _ in 0..<4 {
            _ = machine.begin(candidates, now: Self.time(0))
            if case .failed(let next) = machine.answered(nil, now: Self.time(0), random: 0.5) { pauses.append(next) }
        }
        #expect(pauses == [200, 400, 800, 800].map { Self.time($0) })
    }

    @Test("after the end nothing is asked")
    func shutDown() {
        let machine = Machine()
        let candidates = TopologyMachine.Candidates(seeds: [Self.node(1)])
        _ = machine.begin(candidates, now: Self.time(0))
        machine.shutDown()
        #expect(machine.answered(Self.topology(of: 1), now: Self.time(0), random: 0.5) == nil)
        #expect(machine.want(now: Self.time(0), random: 0.5) == nil)
        #expect(machine.begin(candidates, now: Self.time(0)) == nil)
    }
}
