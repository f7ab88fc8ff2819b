import Testing

@testable import SingleflightLease

@Suite("When the operation of a call for many keys begins")
struct GatheringTests {
    @Test("a run begins when it is known of every key whether it is led, with those that are, in the call's order")
    func all() {
        var gathering = Gathering(count: 4)
        #expect(gathering.leads(3) == .none)
        #expect(gathering.doesNotLead(1) == .none)
        #expect(gathering.leads(0) == .none)
        #expect(gathering.leads(2) == .run([0, 2, 3]))
        #expect(gathering.timeIsUp() == .none)
    }

    @Test("the last key may be one that is not led")
    func lastIsFollowed() {
        var gathering = Gathering(count: 2)
        #expect(gathering.leads(1) == .none)
        #expect(gathering.doesNotLead(0) == .run([1]))
    }

    @Test("keys that are led later are gathered, and run together")
    func later() {
        var gathering = Gathering(count: 3)
        for key in 0..<3 { #expect(gathering.doesNotLead(key) == .none) }
        #expect(gathering.leads(2) == .gather)
        #expect(gathering.leads(1) == .none)
        #expect(gathering.timeIsUp() == .run([1, 2]))
        #expect(gathering.leads(0) == .gather)
        #expect(gathering.timeIsUp() == .run([0]))
    }

    @Test("what is known of a key is counted once")
    func twice() {
        var gathering = Gathering(count: 2)
        #expect(gathering.leads(0) == .none)
        #expect(gathering.doesNotLead(0) == .none)
        #expect(gathering.leads(1) == .run([0, 1]))
    }

    @Test("when the time is up a run begins with what is led, and what comes later is gathered")
    func timeIsUp() {
        var gathering = Gathering(count: 4)
        #expect(gathering.leads(2) == .none)
        #expect(gathering.timeIsUp() == .run([2]))
        #expect(gathering.leads(0) == .gather)
        #expect(gathering.doesNotLead(1) == .none)
        #expect(gathering.leads(3) == .run([0, 3]), "now all are known")
        #expect(gathering.timeIsUp() == .none)
    }

    @Test("where nothing is led in time, what comes later is gathered")
    func allLate() {
        var gathering = Gathering(count: 2)
        #expect(gathering.timeIsUp() == .none)
        #expect(gathering.leads(0) == .gather)
        #expect(gathering.leads(1) == .run([0, 1]))
    }
}
