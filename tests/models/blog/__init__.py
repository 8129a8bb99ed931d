"""The Object Detection API's Mask R-CNN Inception V2, masked by hand as a published patch does, and by auto_mask."""
