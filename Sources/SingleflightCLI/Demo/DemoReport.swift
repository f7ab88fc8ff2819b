/// What a scene should have shown, and what it did.
struct Check: Codable, Equatable, Sendable {
    let what: String
    let expected: String
    let seen: String
    let passed: Bool

    init(_ what: String, expected: String, seen: String, passed: Bool) {
        self.what = what
        self.expected = expected
        self.seen = seen
        self.passed = passed
    }

    init(_ what: String, expected: Int, seen: Int) {
        self.init(what, expected: "\(expected)", seen: "\(seen)", passed: expected == seen)
    }

    init(_ what: String, atMost limit: Duration, seen: Duration) {
        let expected = "at most \(DurationText.describe(limit))"
        self.init(what, expected: expected, seen: DurationText.describe(seen), passed: seen <= limit)
    }
}

/// How a scene ended.
enum Verdict: String, Codable, Sendable {
    case ok, failed, notRun

    /// As people read it: what went wrong must not be overlooked.
    var text: String {
        switch self {
        case .ok: "ok"
        case .failed: "FAILED"
        case .notRun: "not run"
        }
    }
}

struct SceneReport: Codable, Sendable {
    let number: Int
    let title: String
    let verdict: Verdict
    let checks: [Check]
    /// Why it was not run, or what it waited for in vain.
    var remark: String?
    let milliseconds: Int64
}

/// The figures of the herd.
struct HerdFigures: Codable, Sendable {
    let calls: Int
    let originHits: Int
    /// Calls for one hit on the origin.
    let coalescingRatio: Double
    /// From the leader having its result to a caller in another process having it.
    let wakeUpP50Microseconds: Double?
    let wakeUpP99Microseconds: Double?
    let wakeUpSamples: Int

    init(calls: Int, originHits: Int, wakeUps: Samples) {
        self.calls = calls
        self.originHits = originHits
        coalescingRatio = originHits == 0 ? 0 : Double(calls) / Double(originHits)
        wakeUpP50Microseconds = wakeUps.percentile(50).map { Double($0) / 1_000 }
        wakeUpP99Microseconds = wakeUps.percentile(99).map { Double($0) / 1_000 }
        wakeUpSamples = wakeUps.count
    }
}

struct DemoReport: Codable, Sendable {
    let scenes: [SceneReport]
    let herd: HerdFigures?
    /// Where it was played in the user's own Redis; nil in a private one, which is gone.
    var namespace: String?

    /// Whether nothing went wrong; what was not run did not go wrong.
    var passed: Bool { scenes.allSatisfy { $0.verdict != .failed } }

    private enum CodingKeys: String, CodingKey { case scenes, herd, namespace, passed }

    init(scenes: [SceneReport], herd: HerdFigures?, namespace: String? = nil) {
        self.scenes = scenes
        self.herd = herd
        self.namespace = namespace
    }

    init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        scenes = try values.decode([SceneReport].self, forKey: .scenes)
        herd = try values.decodeIfPresent(HerdFigures.self, forKey: .herd)
        namespace = try values.decodeIfPresent(String.self, forKey: .namespace)
    }

    func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: CodingKeys.self)
        try values.encode(scenes, forKey: .scenes)
        try values.encodeIfPresent(herd, forKey: .herd)
        try values.encodeIfPresent(namespace, forKey: .namespace)
        try values.encode(passed, forKey: .passed)
    }
}
