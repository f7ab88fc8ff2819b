// SingleflightTestKit
