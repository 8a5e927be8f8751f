/* An empty library with a name that is missing from TensorRT-RTX's wheel (see CMakeLists.txt). */
