import SingleflightCLI

@main
enum SingleflightTool {
    static func main() async {
        await CommandLineTool.main()
    }
}
