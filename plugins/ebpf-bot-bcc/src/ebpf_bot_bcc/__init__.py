"""The BCC backend: programs that BCC compiles on this host, the plugin's own and those that users bring."""
