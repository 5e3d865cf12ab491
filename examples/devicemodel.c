// SPDX-License-Identifier: GPL-2.0
/*
 * devicemodel.c - A platform driver: probe, suspend, resume and remove.
 *
 * The bus brings the two halves together: a device that somebody found and a
 * driver of the same name. A real platform device comes from a device tree or
 * from ACPI; this module makes its own, so that there is something to drive.
 *
 *	cd /sys/bus/platform/drivers/devicemodel
 *	echo devicemodel > unbind			remove
 *	echo devicemodel > bind				probe
 *	echo auto > devicemodel/power/control		suspend: the device is idle
 *	echo on > devicemodel/power/control		resume
 *
 * When the whole machine goes to sleep, the same suspend and resume are called.
 */
#include <linux/err.h>
#include <linux/errno.h>
#include <linux/init.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/pm_runtime.h>
#include <linux/version.h>

/* What the driver remembers of each device that it drives. */
struct devicemodel {
	unsigned int suspends;
};

static int devicemodel_probe(struct platform_device *pdev)
{
	struct device *dev = &pdev->dev;
	struct devicemodel *data;

	/* Memory that belongs to the binding: the driver core frees it after remove. */
	data = devm_kzalloc(dev, sizeof(*data), GFP_KERNEL);
	if (!data)
		return -ENOMEM;
	platform_set_drvdata(pdev, data);

	/*
	 * Runtime power management: the device is on now, and stays on until
	 * somebody writes "auto" to power/control.
	 */
	pm_runtime_set_active(dev);
	pm_runtime_forbid(dev);
	pm_runtime_enable(dev);

	dev_info(dev, "probe\n");
	return 0;
}

/*
 * Undo what probe did. A device that was suspended has been woken by the driver
 * core, and may have been suspended again: do not count on its being on.
 */
static void devicemodel_unbind(struct device *dev)
{
	pm_runtime_disable(dev);
	dev_info(dev, "remove\n");
}

/* Since 6.11 remove returns nothing: a device that is gone is gone, whatever a driver says. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 11, 0)
static void devicemodel_remove(struct platform_device *pdev)
{
	devicemodel_unbind(&pdev->dev);
}
#else
static int devicemodel_remove(struct platform_device *pdev)
{
	devicemodel_unbind(&pdev->dev);
	return 0;
}
#endif

static int devicemodel_suspend(struct device *dev)
{
	struct devicemodel *data = dev_get_drvdata(dev);

	data->suspends++;
	dev_info(dev, "suspend\n");
	return 0;
}

static int devicemodel_resume(struct device *dev)
{
	struct devicemodel *data = dev_get_drvdata(dev);

	dev_info(dev, "resume (suspended %u times so far)\n", data->suspends);
	return 0;
}

static const struct dev_pm_ops devicemodel_pm_ops = {
	/* one idle device, by itself */
	.runtime_suspend = devicemodel_suspend,
	.runtime_resume = devicemodel_resume,
	/* the whole machine: the same, unless the device is suspended already */
	.suspend = pm_runtime_force_suspend,
	.resume = pm_runtime_force_resume,
};

static struct platform_driver devicemodel_driver = {
	.driver = {
		.name = "devicemodel",
		.pm = &devicemodel_pm_ops,
	},
	.probe = devicemodel_probe,
	.remove = devicemodel_remove,
};

static struct platform_device *devicemodel_device;

static int __init devicemodel_init(void)
{
	int err = platform_driver_register(&devicemodel_driver);

	if (err)
		return err;
	devicemodel_device =
		platform_device_register_simple("devicemodel", PLATFORM_DEVID_NONE, NULL, 0);
	if (IS_ERR(devicemodel_device)) {
		platform_driver_unregister(&devicemodel_driver);
		return PTR_ERR(devicemodel_device);
	}
	return 0;
}

static void __exit devicemodel_exit(void)
{
	platform_device_unregister(devicemodel_device);
	platform_driver_unregister(&devicemodel_driver);
}

module_init(devicemodel_init);
module_exit(devicemodel_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmodlab");
MODULE_DESCRIPTION("A platform driver: probe, suspend, resume and remove");
