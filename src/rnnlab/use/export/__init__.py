"""A trained run as one file that is served without rnnlab: ONNX, or torch.export's pt2."""
