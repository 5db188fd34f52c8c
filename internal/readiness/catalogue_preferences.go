package readiness

func preferencesEntries() []Entry { return nil }
