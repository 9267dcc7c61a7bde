# Empty on purpose: the codec takes keypoint_meta from here, on devices without torch.
