"""Export-friendly nn.Modules, one file an architecture, and the names they are known by."""
