// SingleflightCLI
