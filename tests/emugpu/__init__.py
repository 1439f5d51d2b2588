"""CuPy itself on an emulated CUDA device: kernels run on the CPU, thread by thread.  See rig.py."""
