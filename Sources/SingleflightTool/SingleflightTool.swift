import SingleflightCLI

@main
enum SingleflightTool {
    // The main thread is the one that has what this process was started with.
    @MainActor
    static func main() async {
        CommandLineTool.prepare()
        await CommandLineTool.main()
    }
}
