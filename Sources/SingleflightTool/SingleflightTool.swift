import SingleflightCLI

@main
enum SingleflightTool {
    static func main() async {
        await SingleflightCommand.main(nil)
    }
}
