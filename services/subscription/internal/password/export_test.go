package password

// Common returns the common passwords.
func Common(r *Rules) []string { return r.common }
