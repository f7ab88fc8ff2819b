import PrivateRedis

/// Puts up the stage, plays the scenes, and takes everything down again, however it ends.
struct Demo {
    let configuration: DemoConfiguration
    let progress: ProgressLine

    /// - Throws: ``CommandFailure`` and others if the stage cannot be put up; `CancellationError` when canceled.
    func run() async throws -> DemoReport {
        if let url = configuration.redis {
            // Asked first: what is wrong with a Redis of the user's is said once, and not by every worker.
            try await DemoGroups.withGroup(url: url, namespace: "demo", label: "demo") { _ in }
            return try await run(with: nil)
        }
        progress.note("starting a private Redis", style: .dim)
        return try await PrivateRedis.with { try await run(with: $0) }
    }

    private func run(with redis: PrivateRedis?) async throws -> DemoReport {
        let executable = try ChildProcess.ownExecutable()
        let latency = DemoConfiguration.originLatency.wholeMilliseconds
        let origin = try await ChildProcess(executable, ["demo-origin", "--latency", "\(latency)"])
        do {
            guard let line = await origin.lines.first(where: { _ in true }) else {
                throw CommandFailure("the origin did not start")
            }
            let port = try JSONText.decode(OriginReady.self, from: line).port
            let report = try await run(with: redis, executable: executable, originPort: port)
            await origin.stop()
            return report
        } catch {
            await origin.stop()
            throw error
        }
    }

    private func run(with redis: PrivateRedis?, executable: String, originPort: Int) async throws -> DemoReport {
        let url = configuration.redis ?? redis?.url ?? ConnectionOptions.defaultURL
        // A namespace of its own in somebody's Redis: two demos at once do not meet.
        let namespace = "demo-\(UInt32.random(in: 0 ... .max))"
        if redis == nil {
            progress.note(
                "in namespace \(namespace): `singleflight top --namespace \(namespace)` shows it",
                style: .dim
            )
        }
        let stage = DemoStage(
            configuration: configuration,
            origin: OriginClient(port: originPort),
            redis: redis,
            progress: progress,
            untilFollowed: { key, processes in
                try await DemoGroups.untilFollowed(key, by: processes, url: url, namespace: namespace)
            }
        ) { worker in
            try await ChildProcess(
                executable,
                ["demo-worker", "--label", "worker-\(worker + 1)", "--origin", "\(originPort)"],
                environment: ["SINGLEFLIGHT_URL": url, "SINGLEFLIGHT_NAMESPACE": namespace]
            )
        }
        do {
            var report = try await play(on: stage)
            await stage.stopWorkers()
            if redis == nil { report.namespace = namespace }
            return report
        } catch {
            await stage.stopWorkers()
            throw error
        }
    }

    private func play(on stage: DemoStage) async throws -> DemoReport {
        progress.note("starting an origin and \(configuration.workers) workers", style: .dim)
        stage.begin(scene: 0)
        do {
            try await stage.startWorkers()
        } catch let stopped as SceneStopped {
            throw CommandFailure("the workers did not start: \(stopped)", status: .unavailable)
        }
        stage.end()

        let herd = HerdScene()
        let scenes: [any DemoScene] = [
            herd, FailingLeaderScene(), KilledLeaderScene(), PausedLeaderScene(), RestartedRedisScene(),
            StreamScene(),
        ]
        var reports: [SceneReport] = []
        for (index, scene) in scenes.enumerated() {
            reports.append(try await play(scene, number: index + 1, on: stage))
        }
        progress.clear()
        return DemoReport(scenes: reports, herd: herd.figures)
    }

    private func play(_ scene: any DemoScene, number: Int, on stage: DemoStage) async throws -> SceneReport {
        let start = MonotonicTime.now
        func report(_ verdict: Verdict, _ checks: [Check] = [], remark: String? = nil) -> SceneReport {
            let milliseconds = start.duration(to: .now).wholeMilliseconds
            let report = SceneReport(
                number: number,
                title: scene.title,
                verdict: verdict,
                checks: checks,
                remark: remark,
                milliseconds: milliseconds
            )
            progress.note("   " + DemoRendering.line(report), style: DemoRendering.style(of: verdict))
            return report
        }

        progress.note("\(number)  \(scene.title)", style: .bold)
        if let obstacle = scene.obstacle(configuration) { return report(.notRun, remark: obstacle) }
        stage.begin(scene: number)
        let outcome: SceneReport
        do {
            let checks = try await scene.play(on: stage)
            outcome = report(checks.allSatisfy(\.passed) ? .ok : .failed, checks)
        } catch let error where error is SceneStopped || error is OriginFailure || error is PrivateRedisError {
            try Task.checkCancellation()
            outcome = report(.failed, remark: CommandFailure(describing: error).description)
            // Nobody knows what state the workers are in: the next scene gets new ones, and time of its own for that.
            stage.end()
            stage.begin(scene: number)
            try await stage.replaceAllWorkers()
        }
        stage.end()
        return outcome
    }
}
