"""The same scan over many cores or machines, with Ray: recordings from object stores, read on CPUs, heard on GPUs."""
