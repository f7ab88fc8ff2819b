@main
enum SingleflightTool {
    static func main() {}
}
