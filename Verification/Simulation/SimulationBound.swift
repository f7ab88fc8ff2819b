/// Something that belongs to the one thread of a simulation, for closures that could be called on any.
///
/// `@unchecked`, because it has no lock: a simulation calls whatever it has scheduled one after the other, in one thread,
/// and a lock would only hide a part of it that escaped.
struct SimulationBound<Value>: @unchecked Sendable {
    let value: Value

    init(_ value: Value) {
        self.value = value
    }
}
