"""A simulated libvirtd and its virsh: what the commands print, and what they do on their host, planned as data. No module of it does anything itself."""
